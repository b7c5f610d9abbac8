-- ARGV: lease. Returns whether claims under it are free.
return 1 - redis.call('HEXISTS', members, ARGV[1])
