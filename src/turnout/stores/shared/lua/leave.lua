-- A request has ended. KEYS as those of admit.lua. ARGV: request, tokens that it was let in for, tokens it took.
redis.call('ZREM', KEYS[2], ARGV[1])
local known = redis.call('HMGET', KEYS[1], 't', 'tf')
if not known[1] then
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local limit = tonumber(known[1])
local free = math.max(tonumber(known[2]), now) + (tonumber(ARGV[3]) - tonumber(ARGV[2])) / limit * 60000000
redis.call('HSET', KEYS[1], 'tf', string.format('%.3f', free))
if free > now + redis.call('PTTL', KEYS[1]) * 1000 then
  redis.call('PEXPIRE', KEYS[1], math.ceil((free - now) / 1000) + 1)
end
return 1
