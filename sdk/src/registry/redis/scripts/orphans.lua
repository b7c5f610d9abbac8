-- The live agents of a guild whose claim is under none of these leases.
-- ARGV: the leases that are not buried.
-- Returns how many agents there are, and agent and entry of each orphan.
local listed = {}
for _, lease in ipairs(ARGV) do
  listed[lease] = true
end
local found = {}
local all = redis.call('HGETALL', agents)
for at = 1, #all, 2 do
  local _, lease, live = parse(all[at + 1])
  if live == '1' and not listed[lease] then
    found[#found + 1] = all[at]
    found[#found + 1] = all[at + 1]
  end
end
return { #all / 2, found }
