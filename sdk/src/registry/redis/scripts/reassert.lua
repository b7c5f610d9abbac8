-- Puts a claim under another lease. Its record stays, so watchers have nothing to hear.
-- ARGV: agent, epoch, lease.
-- Returns 'done', or 'fenced' with the current epoch or ''.
local agent, epoch, lease = unpack(ARGV)
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
redis.call('HSET', agents, agent, head(current, lease, live, call) .. json)
return { 'done', '' }
