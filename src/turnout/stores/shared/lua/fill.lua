-- Take over what the ledger says of a purse.
--
-- ARGV: purse, lease in us, purse's life in ms, pieces of a window, number of gateways, of entries, then of each
-- gateway its name, what it spent, how many pieces follow, piece, amount, ...; then of each entry its id and amount.
local steps = tonumber(ARGV[4])
local purse = read_purse(tonumber(ARGV[2]), ARGV[3])
local at = 7
for _ = 1, tonumber(ARGV[5]) do
  local gateway, total, pieces = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local told = {}
  for i = at + 3, at + 2 + 2 * pieces do
    told[#told + 1] = ARGV[i]
  end
  at = at + 3 + 2 * pieces
  local part = purse.living[gateway]
  local known = part and part.spent or tonumber(redis.call('HGET', KEYS[4], gateway) or 0)
  if total > known then
    book(purse, total - known, known == 0 and told or {}, 0, steps)
    if part then
      part.spent = total
      keep(purse, gateway)
    else
      redis.call('HSET', KEYS[4], gateway, whole(total))
      purse.past = purse.past + total - known
    end
  end
end
for _ = 1, tonumber(ARGV[6]) do
  redis.call('HSETNX', KEYS[3], 'e:' .. ARGV[at], ARGV[at + 1])
  at = at + 2
end
redis.call('HSET', KEYS[3], 'k', purse.epoch)
keep(purse)
return 1
