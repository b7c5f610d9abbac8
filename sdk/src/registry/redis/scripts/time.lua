-- Milliseconds since 1970 by the clock of Redis, rounded down.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Microseconds since 1970; exact in a Lua number until the year 2255.
local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- A whole number as text; Lua itself would round a long one.
local function text(number)
  return string.format('%.0f', number)
end

