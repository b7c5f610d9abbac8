-- Claims an agent's identity under a new, higher epoch.
-- KEYS: agents, epoch of the guild. ARGV: agent, lease, whether it is live, the call,
-- JSON, channel of changes, the epoch to replace or '', and the 'EPOCH LEASE' whose
-- lease was found to be over or ''.
-- Returns 'claimed' and the epoch, 'held' and the entry, or 'missing' when there is
-- nothing to replace.
local agent, lease, live, call, json, changes, replaces, over = unpack(ARGV)
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
  local granted
  if replaces ~= '' then
    granted = epoch == replaces
  else
    granted = taken == '0' or over == epoch .. ' ' .. holder
  end
  if not granted then
    return { 'held', entry }
  end
elseif replaces ~= '' then
  return { 'missing', '' }
end
local epoch = string.format('%.0f', redis.call('INCR', KEYS[2]))
entry = head(epoch, lease, live, call) .. json
redis.call('HSET', agents, agent, entry)
redis.call('PUBLISH', changes, '+' .. entry)
return { 'claimed', epoch }
