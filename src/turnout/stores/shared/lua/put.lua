-- Keep records, each under its key. ARGV: milliseconds they are kept, record, ...
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
end
return #KEYS
