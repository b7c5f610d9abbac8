-- Removes an agent under its current epoch.
-- KEYS: agents, epochs of the guild. ARGV: agent, epoch, channel of changes.
-- Returns 'done', also when there is nothing, or 'fenced' with the current epoch.
local agent, epoch, changes = unpack(ARGV)
if redis.call('HEXISTS', agents, agent) == 1 then
  local entry, answer = current(agent, epoch)
  if not entry then
    return answer
  end
  redis.call('HDEL', agents, agent)
  redis.call('PUBLISH', changes, '-' .. epoch .. ' ' .. agent)
end
return { 'done', '' }
