-- Puts a claim under another lease. Its record stays, and is told to watchers all the
-- same: they may have said that the agent is lost.
-- KEYS: agents, epochs of the guild. ARGV: agent, epoch, lease, channel of changes.
-- Returns 'done', 'fenced' with the current epoch or '', or 'forgotten'.
local agent, epoch, lease, changes = unpack(ARGV)
local entry, answer, old, live, call = current(agent, epoch)
if not entry then
  return answer
end
local json = string.sub(entry, #head(epoch, old, live, call) + 1)
store(agent, head(epoch, lease, live, call) .. json, changes)
return { 'done', '' }
