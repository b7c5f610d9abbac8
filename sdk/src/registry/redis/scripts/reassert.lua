-- Puts a claim under another lease. Its record stays, and is told to watchers all the
-- same: they may have said that the agent is lost.
-- ARGV: agent, epoch, lease, channel of changes.
-- Returns 'done', or 'fenced' with the current epoch or ''.
local agent, epoch, lease, changes = unpack(ARGV)
local entry = redis.call('HGET', agents, agent)
if not entry then
  return { 'fenced', '' }
end
local current, old, live, call = parse(entry)
if not current then
  return corrupt(agent)
end
if current ~= epoch then
  return { 'fenced', current }
end
local json = string.sub(entry, #head(current, old, live, call) + 1)
entry = head(current, lease, live, call) .. json
redis.call('HSET', agents, agent, entry)
redis.call('PUBLISH', changes, '+' .. entry)
return { 'done', '' }
