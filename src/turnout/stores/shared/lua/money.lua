-- What every script about money begins with: reading and writing a purse. The arithmetic is that of purses.py.
--
-- KEYS of all of them: 1 the engine's epoch ("ID OPENS_US"), 2 the index of leases by when they run out, 3 the purse,
-- 4 those that are gone, 5 the pieces of a rolling window. Microseconds, by this server's clock.
-- A purse's fields: "k" the epoch it was filled in, "o" until when it is closed, "p" past, "w" microseconds of a
-- piece, "s" the piece it was last swept in, "g:GATEWAY" = "spent held limit sequence", "e:ENTRY" = what was added.
-- Numbers are doubles: whole up to 2^53, which is 9,007,199 dollars in nano-dollars; the client sends nothing larger.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function whole(number)
  return string.format('%.0f', number)
end

local function read_purse(lease_us, ttl_ms)
  local told = redis.call('GET', KEYS[1])
  if not told then
    told = clock[1] .. '.' .. clock[2] .. ' ' .. whole(now + lease_us)
    redis.call('SET', KEYS[1], told)
  end
  local epoch, opens = string.match(told, '^(%S+) (%S+)$')
  local purse = {
    epoch = epoch, opens = tonumber(opens), filled = '', past = 0, step = 0, swept = -1, added = 0,
    entries = {}, living = {}, ttl = ttl_ms,
  }
  local fields = redis.call('HGETALL', KEYS[3])
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    local kind = string.sub(field, 1, 2)
    if kind == 'g:' then
      local spent, held, limit, sequence = string.match(value, '^(%S+) (%S+) (%S+) (%S+)$')
      purse.living[string.sub(field, 3)] = {
        spent = tonumber(spent), held = tonumber(held), limit = tonumber(limit), sequence = tonumber(sequence),
      }
    elseif kind == 'e:' then
      purse.entries[string.sub(field, 3)] = true
      purse.added = purse.added + tonumber(value)
    elseif field == 'k' then
      purse.filled = value
    elseif field == 'o' then
      purse.opens = math.max(purse.opens, tonumber(value))
    elseif field == 'p' then
      purse.past = tonumber(value)
    elseif field == 'w' then
      purse.step = tonumber(value)
    elseif field == 's' then
      purse.swept = tonumber(value)
    end
  end
  purse.new = #fields == 0
  return purse
end

local function taken(part)
  return math.max(part.limit, part.spent + part.held)
end

local function keep(purse, gateway)
  local changed = { 'p', whole(purse.past), 'w', whole(purse.step), 's', whole(purse.swept) }
  local part = gateway and purse.living[gateway]
  if part then
    changed[#changed + 1] = 'g:' .. gateway
    changed[#changed + 1] = table.concat(
      { whole(part.spent), whole(part.held), whole(part.limit), whole(part.sequence) }, ' ')
  end
  redis.call('HSET', KEYS[3], unpack(changed))
  for key = 3, purse.step > 0 and 5 or 4 do
    redis.call('PEXPIRE', KEYS[key], purse.ttl)
  end
end

local function sweep(purse, steps)
  if purse.step == 0 then
    return
  end
  local piece = math.floor(now / purse.step)
  if piece == purse.swept then
    return
  end
  purse.swept = piece
  local pieces = redis.call('HGETALL', KEYS[5])
  for i = 1, #pieces, 2 do
    if tonumber(pieces[i]) < piece - steps then
      purse.past = purse.past - tonumber(pieces[i + 1])
      redis.call('HDEL', KEYS[5], pieces[i])
    end
  end
end

-- Note when `amount` was spent: by `told` (pieces and what was spent in them), where that makes sense, else now.
local function book(purse, amount, told, shift, steps)
  if purse.step == 0 then
    return
  end
  local piece = math.floor(now / purse.step)
  local total, sound = 0, #told > 0
  for i = 1, #told, 2 do
    local part = tonumber(told[i + 1])
    total = total + part
    sound = sound and part >= 0
  end
  if not sound or total > amount then
    told, total, shift = { piece, amount }, amount, 0
  end
  for i = 1, #told, 2 do
    local at = math.min(tonumber(told[i]) + shift, piece)
    redis.call('HINCRBY', KEYS[5], whole(at), whole(tonumber(told[i + 1])))
  end
  purse.past = purse.past - (amount - total)
  purse.swept = -1
  sweep(purse, steps)
end

local function bury(purse, gateway)
  local part = purse.living[gateway]
  purse.living[gateway] = nil
  purse.past = purse.past + part.spent
  redis.call('HSET', KEYS[4], gateway, whole(part.spent))
  redis.call('HDEL', KEYS[3], 'g:' .. gateway)
  redis.call('ZREM', KEYS[2], gateway .. '\n' .. ARGV[1])
end
