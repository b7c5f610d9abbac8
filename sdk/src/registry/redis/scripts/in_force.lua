-- ARGV: host, lease. Returns whether this very lease is in force.
return in_force(ARGV[1], now_ms()) == ARGV[2] and 1 or 0
