-- Replaces the record of an agent under its current epoch.
-- ARGV: agent, epoch, whether it is live, JSON, channel of changes.
-- Returns 'done', or 'fenced' with the current epoch or ''.
local agent, epoch, live, json, changes = unpack(ARGV)
local entry = redis.call('HGET', agents, agent)
if not entry then
  return { 'fenced', '' }
end
local current, lease, _, call = parse(entry)
if not current then
  return corrupt(agent)
end
if current ~= epoch then
  return { 'fenced', current }
end
entry = head(epoch, lease, live, call) .. json
redis.call('HSET', agents, agent, entry)
redis.call('PUBLISH', changes, '+' .. entry)
return { 'done', '' }
