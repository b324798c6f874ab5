-- What a silent gateway had: {amount, held}; nothing where it has spoken since, or had nothing: then it is gone.
-- ARGV: purse, lease in us, purse's life in ms, gateway.
local gateway = ARGV[4]
local purse = read_purse(tonumber(ARGV[2]), ARGV[3])
local part = purse.living[gateway]
if not part then
  redis.call('ZREM', KEYS[2], gateway .. '\n' .. ARGV[1])
  return {}
end
local until_us = tonumber(redis.call('ZSCORE', KEYS[2], gateway .. '\n' .. ARGV[1]) or 0)
if math.max(until_us, purse.opens) > now then
  return {}
end
if taken(part) == part.spent then
  bury(purse, gateway)
  keep(purse)
  return {}
end
return { taken(part) - part.spent, part.held }
