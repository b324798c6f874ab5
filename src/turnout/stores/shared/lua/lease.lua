-- Take a claim in and answer it: {limit, spent, leased, added, rest, known, microseconds until it opens, 0};
-- the last is 1, and nothing has happened, where the pieces of a rolling budget are to be told.
--
-- ARGV: purse, gateway, sequence, spent, held, want, limit, amount, lease in us, purse's life in ms, us of a piece,
-- pieces of a window, the gateway's own present piece, whether pieces follow, piece, amount, ...
local gateway, sequence = ARGV[2], tonumber(ARGV[3])
local spent, held, want, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local amount, lease_us, steps = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[12])

local purse = read_purse(lease_us, ARGV[10])
purse.step = tonumber(ARGV[11])
if purse.new then
  -- An engine short of memory may have thrown a purse out; who has money of it stands in the index.
  local until_us = 0
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. whole(now), '+inf')) do
    local of, name = string.match(member, '^(.-)\n(.*)$')
    if name == ARGV[1] and of ~= gateway then
      until_us = now + lease_us
    end
  end
  purse.opens = math.max(purse.opens, until_us)
end
sweep(purse, steps)

local part = purse.living[gateway]
if not part or sequence > part.sequence then
  if not part then
    local before = tonumber(redis.call('HGET', KEYS[4], gateway) or 0)
    if before == 0 and purse.step > 0 and spent > 0 and ARGV[14] == '0' then
      return { 0, 0, 0, 0, 0, 0, 0, 1 }
    end
    redis.call('HDEL', KEYS[4], gateway)
    purse.past = purse.past - before
    part = { spent = before, held = 0, limit = 0, sequence = 0 }
    purse.living[gateway] = part
  end
  if spent > part.spent then
    local told = {}
    if part.spent == 0 then
      for i = 15, #ARGV do
        told[#told + 1] = ARGV[i]
      end
    end
    local shift = 0
    if #told > 0 then
      shift = math.floor(now / purse.step) - tonumber(ARGV[13])
    end
    book(purse, spent - part.spent, told, shift, steps)
    part.spent = spent
  end
  part.held, part.sequence = held, sequence
  local base = part.spent + part.held
  if purse.filled ~= purse.epoch or now < purse.opens then
    part.limit = math.max(base, math.min(limit, base + want))
  else
    local kept = math.min(part.limit, base + want)
    local room = amount + purse.added - purse.past - base
    for _, other in pairs(purse.living) do
      if other ~= part then
        room = room - taken(other)
      end
    end
    part.limit = math.max(kept, base + math.max(0, math.min(want, room)))
  end
  redis.call('ZADD', KEYS[2], whole(now + lease_us), gateway .. '\n' .. ARGV[1])
end

keep(purse, gateway)
if purse.new then
  redis.call('HSET', KEYS[3], 'o', whole(purse.opens))
end
local all_spent, leased = purse.past, 0
for _, each in pairs(purse.living) do
  all_spent = all_spent + each.spent
  leased = leased + taken(each) - each.spent
end
return {
  part.limit, all_spent, leased, purse.added, amount + purse.added - all_spent - leased,
  purse.filled == purse.epoch and 1 or 0, math.max(0, purse.opens - now), 0,
}
