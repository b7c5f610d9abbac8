-- Names the fleet's policy, in place of the one before.
-- KEYS: policy. ARGV: field and value of each part; none of them takes it back.
redis.call('DEL', KEYS[1])
if #ARGV > 0 then
  redis.call('HSET', KEYS[1], unpack(ARGV))
end
