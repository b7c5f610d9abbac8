-- Removes an agent and its launch under its current epoch. The guild's specs go with its
-- last launch.
-- KEYS: agents, epochs, launches, specs of the guild. ARGV: agent, epoch, channel of changes.
-- Returns 'done', also when there is nothing, or 'fenced' with the current epoch.
local agent, epoch, changes = unpack(ARGV)
if redis.call('HEXISTS', agents, agent) == 1 then
  local entry, answer = current(agent, epoch)
  if not entry then
    return answer
  end
  redis.call('HDEL', agents, agent)
  if redis.call('HDEL', launches, agent) == 1 and redis.call('EXISTS', launches) == 0 then
    redis.call('DEL', specs)
  end
  redis.call('PUBLISH', changes, '-' .. epoch .. ' ' .. agent)
end
return { 'done', '' }
