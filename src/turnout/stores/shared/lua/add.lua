-- More money for a purse, once for an entry. ARGV: purse, lease in us, purse's life in ms, entry, amount.
local purse = read_purse(tonumber(ARGV[2]), ARGV[3])
redis.call('HSETNX', KEYS[3], 'e:' .. ARGV[4], ARGV[5])
keep(purse)
return 1
