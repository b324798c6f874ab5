-- A gateway has connected: where this server was started anew, or is another than before, or has lost its memory,
-- it grants nothing until every gateway that has money of it has had the time to say so.
-- KEYS: 1 the epoch, 2 the server's own mark. ARGV: the mark, lease in us, whether other gateways may have money.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local mark = redis.call('GET', KEYS[2])
local before = redis.call('EXISTS', KEYS[1]) == 1
if mark == ARGV[1] and before then
  return 0
end
local opens = (mark or before or ARGV[3] == '1') and now + tonumber(ARGV[2]) or 0
redis.call('SET', KEYS[1], clock[1] .. '.' .. clock[2] .. ' ' .. string.format('%.0f', opens))
redis.call('SET', KEYS[2], ARGV[1])
return 1
