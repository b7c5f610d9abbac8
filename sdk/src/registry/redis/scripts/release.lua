-- Removes an agent under its current epoch.
-- ARGV: agent, epoch, channel of changes.
-- Returns 'done', also when there is nothing, or 'fenced' with the current epoch.
local agent, epoch, changes = unpack(ARGV)
local entry = redis.call('HGET', agents, agent)
if entry then
  local current = parse(entry)
  if not current then
    return corrupt(agent)
  end
  if current ~= epoch then
    return { 'fenced', current }
  end
  redis.call('HDEL', agents, agent)
  redis.call('PUBLISH', changes, '-' .. epoch .. ' ' .. agent)
end
return { 'done', '' }
