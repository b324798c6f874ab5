-- End a lease that has run out, if it still stands as it was found.
-- ARGV: purse, lease in us, purse's life in ms, gateway, amount and held as they were found, what counts as spent,
-- pieces of a window.
local gateway, counted = ARGV[4], tonumber(ARGV[7])
local purse = read_purse(tonumber(ARGV[2]), ARGV[3])
local part = purse.living[gateway]
local until_us = tonumber(redis.call('ZSCORE', KEYS[2], gateway .. '\n' .. ARGV[1]) or 0)
if not part or until_us > now or taken(part) - part.spent ~= tonumber(ARGV[5]) or part.held ~= tonumber(ARGV[6]) then
  return 0
end
bury(purse, gateway)
book(purse, counted, {}, 0, tonumber(ARGV[8]))
redis.call('HINCRBY', KEYS[4], '', whole(counted))
purse.past = purse.past + counted
keep(purse)
return 1
