-- Add to counters of records; all of each. ARGV: milliseconds they are kept, then for each record how many of its
-- counters, counter, number, ...
local at, all = 2, {}
for i, key in ipairs(KEYS) do
  local last = at + 2 * tonumber(ARGV[at])
  for n = at + 1, last, 2 do
    redis.call('HINCRBY', key, ARGV[n], ARGV[n + 1])
  end
  redis.call('PEXPIRE', key, ARGV[1])
  all[i] = redis.call('HGETALL', key)
  at = last + 1
end
return all
