-- A request at the gate of a key: microseconds to wait, 0 where it is in. As gates.py, spend/rates.py.
--
-- KEYS: 1 the rates (a limit and when it is full again, of requests "r" "rf" and tokens "t" "tf"), 2 what is open.
-- ARGV: request, tokens, rpm, tpm, at once ("" for no limit), milliseconds after which an open request is forgotten.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local minute = 60000000
local open_ms, at_once = tonumber(ARGV[6]), tonumber(ARGV[5])

if at_once then
  local open = redis.call('ZCARD', KEYS[2])
  if open >= at_once then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
    open = redis.call('ZCARD', KEYS[2])
    if open >= at_once and not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
      return 1000000
    end
  end
end

local known = redis.call('HMGET', KEYS[1], 'r', 'rf', 't', 'tf')
local limits = { tonumber(ARGV[3]), tonumber(ARGV[4]) }
local weights = { 1, tonumber(ARGV[2]) }
local free = {}
for i = 1, 2 do
  local limit = limits[i]
  if limit then
    free[i] = known[2 * i - 1] and tonumber(known[2 * i - 1]) == limit and tonumber(known[2 * i]) or 0
    free[i] = math.max(free[i], now)
    local wait = free[i] + math.min(weights[i], limit) / limit * minute - minute - now
    if wait > 0 then
      return math.ceil(wait)
    end
  end
end

local names, until_us = { 'r', 't' }, now
for i = 1, 2 do
  if limits[i] then
    free[i] = free[i] + weights[i] / limits[i] * minute
    until_us = math.max(until_us, free[i])
    redis.call('HSET', KEYS[1], names[i], limits[i], names[i] .. 'f', string.format('%.3f', free[i]))
  elseif known[2 * i - 1] then
    redis.call('HDEL', KEYS[1], names[i], names[i] .. 'f')
  end
end
if limits[1] or limits[2] then
  redis.call('PEXPIRE', KEYS[1], math.ceil((until_us - now) / 1000) + 1)
end
if at_once then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + open_ms * 1000), ARGV[1])
  redis.call('PEXPIRE', KEYS[2], open_ms)
end
return 0
