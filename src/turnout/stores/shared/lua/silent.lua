-- Leases that have run out, as "GATEWAY\nPURSE". KEYS: 1 the epoch, 2 the index.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local told = redis.call('GET', KEYS[1])
if not told or now < tonumber(string.match(told, ' (%S+)$')) then
  return {}
end
return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 1000)
