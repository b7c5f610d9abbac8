-- The launch of an agent under its current epoch. ARGV: agent, epoch.
-- Returns the launch and its guild's spec; nothing when there is none, or another epoch.
local agent, epoch = unpack(ARGV)
local entry = redis.call('HGET', agents, agent)
local kept = redis.call('HGET', launches, agent)
if not entry or not kept or parse(entry) ~= epoch then
  return {}
end
local digest, launch = string.match(kept, '^(%S*) (.*)$')
return { launch, redis.call('HGET', specs, digest) or '' }
