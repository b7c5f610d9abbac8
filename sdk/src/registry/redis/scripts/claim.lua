-- Claims an agent's identity under a new, higher epoch.
-- KEYS: agents, epochs, launches, specs of the guild. ARGV: agent, lease, whether it is
-- live, the call, JSON, channel of changes, the epoch to replace or '', the 'EPOCH LEASE'
-- whose lease was found to be buried or '', an epoch that the new one must be above, the
-- run id that the host relies on or '', whether an adoption; and when there is a launch:
-- that, the digest of its guild's spec, and that spec or ''.
-- Returns 'claimed' and the epoch, 'held' and the entry, 'unsettled', 'spec' when the
-- guild's spec is needed, or when there is nothing to replace 'fenced' or 'forgotten'.
local agent, lease, live, call, json, changes, replaces, over, floor, run, adopts = unpack(ARGV)
local launch, digest, spec = ARGV[12], ARGV[13], ARGV[14]
local entry = redis.call('HGET', agents, agent)
if entry then
  local epoch, holder, taken, made_by = parse(entry)
  if not epoch then
    return corrupt(agent)
  end
  if made_by == call then
    -- This very call was carried out, and its answer was lost.
    return { 'claimed', epoch }
  end
  local buried = over == epoch .. ' ' .. holder or holder == ''
  local granted
  if adopts == '1' then
    granted = epoch == replaces and taken == '1' and buried
  elseif replaces ~= '' then
    granted = epoch == replaces
  else
    granted = taken == '0' or buried
  end
  if not granted then
    return { 'held', entry }
  end
elseif replaces ~= '' then
  return missing(replaces)
end
if run ~= '' and run ~= run_id() then
  return { 'unsettled', '' }
end
if launch then
  if spec ~= '' then
    redis.call('HSET', specs, digest, spec)
  elseif redis.call('HEXISTS', specs, digest) == 0 then
    return { 'spec', '' }
  end
  redis.call('HSET', launches, agent, digest .. ' ' .. launch)
end
local _, last = given()
if not last or below(last, floor) then
  -- The guild is new here, or Redis has lost what it gave out: which epochs those were
  -- cannot be known, but none was as high as the time in microseconds. From there on
  -- every epoch is known to be of before the loss or of after it.
  local start = text(now_us())
  if below(start, floor) then
    start = floor
  end
  redis.call('HSET', epochs, 'since', start, 'last', start)
end
local epoch = text(redis.call('HINCRBY', epochs, 'last', 1))
store(agent, head(epoch, lease, live, call) .. json, changes)
return { 'claimed', epoch }
