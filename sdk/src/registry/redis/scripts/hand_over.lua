-- Replaces the record of an agent under its current epoch, and puts the claim under no
-- lease. ARGV: agent, epoch, whether it is live, JSON, channel of changes.
-- Returns 'done', 'fenced' with the current epoch or '', or 'forgotten'.
local agent, epoch, live, json, changes = unpack(ARGV)
local entry, answer, _, _, call = current(agent, epoch)
if not entry then
  return answer
end
store(agent, head(epoch, '', live, call) .. json, changes)
return { 'done', '' }
