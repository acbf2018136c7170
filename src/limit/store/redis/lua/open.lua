-- Begins each script of a name: reads its state. `save.lua` ends it.
--
-- The state is a hash. Numbers have 7 bytes, instants are microseconds since 1970.
--
--   h   head: made, sequence, opens, expires, bytes of the quotas; then
--       quotas: limits in the code of processes, and as many that apply instead, as in ARGV[1]
--       claims: process, asked, expires, number of limits (1 byte), units of each
--   b1  if the first limit is a bucket: a second, and how many nanoseconds after it the bucket is
--       full; nanoseconds given back, excess, capacity, nanoseconds of a unit
--   w1  if it is a window: instant and units of each start, the oldest first; then all units
--
--   r   the numbers of the last 64 reports of what processes took
--
-- KEYS[1]  the hash
-- ARGV[1]  the limits in the code: 'b' or 'w' (1 byte), capacity, nanoseconds of a unit or
--          microseconds of the period
-- ARGV[2]  hold, nanoseconds of lateness, made and sequence of the state that was seen (0 if
--          none), grace; then the numbers of the script
-- ARGV[3]  and more: the fields of the limits
--
-- Numbers are exact below 2^53, but `%` is not. Functions and tables cost more than all else.

local read, write, sub = struct.unpack, struct.pack, string.sub
local LARGEST, GIVEN = 9007199254740991, 4503599627370496
local key, code, args = KEYS[1], ARGV[1], ARGV[2]

local time = redis.call('TIME')
local second, micro = tonumber(time[1]), tonumber(time[2])
local now, nano = second * 1000000 + micro, micro * 1000

local saved = redis.call('HMGET', key, 'h', unpack(ARGV, 3))
local hold, late, seen_made, seen_sequence, grace, position = read('>I7I7I7I7I7', args)

local made, sequence, opens, expires, quotas, claims = 0, 0, 0, 0, '', ''
local head = saved[1]
if head then
  local length
  made, sequence, opens, expires, length = read('>I7I7I7I7I7', head)
  if made == 0 or made > LARGEST or length > #head - 35 then error('unreadable head') end
  if #head > 35 then
    quotas, claims = sub(head, 36, 35 + length), sub(head, 36 + length)
  end
end

-- Is the state that the process has seen gone?
local lost = seen_made > 0
  and (made ~= seen_made or sequence < seen_sequence)
if made == 0 or lost and made <= seen_made then
  -- Missing, or an older copy, and no process knows yet.
  redis.call('DEL', key)
  made = lost and math.max(now, seen_made + 1) or now
  opens = lost and now + grace or 0
  sequence, expires, saved, claims = 0, 0, {}, ''
else
  -- Not later than that: the clock may have gone back.
  opens = opens < now + grace and opens or now + grace
  if lost then
    opens = math.max(opens, math.min(made, now) + grace)
  end
end

-- Quotas that were set at run time, if the code of the process is as it was then.
local specs, count = code, #code / 15
if #quotas == 2 * #code and sub(quotas, 1, #code) == code then
  specs = sub(quotas, #code + 1)
end

-- The numbers of a limit.
local IS_WINDOW, CAPACITY, UNIT, PRICE, ROOM, CHANGED, COST, MORE, AHEAD, OTHERS, FREE =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local START, STARTS, PART = 12, 13, 14
local DEBT, GIVEN_BACK, EXCESS = 12, 13, 14

-- Adds units to the start at `at`, or takes some of its units away.
local function add(limit, at, units)
  local starts, had = limit[STARTS], 0
  local low, high = 0, (#starts - 7) / 14
  -- Nearly always at the newest.
  local middle = high - 1
  while low < high do
    local found, found_units = struct.unpack('>I7I7', starts, 14 * middle + 1)
    if found == at then
      low, had = middle, found_units
      break
    elseif found < at then
      low = middle + 1
    else
      high = middle
    end
    middle = math.floor((low + high) / 2)
  end
  units = math.max(units, -had)
  local start = had + units > 0 and struct.pack('>I7I7', at, had + units) or ''
  limit[ROOM] = limit[ROOM] - units
  limit[STARTS] = string.sub(starts, 1, 14 * low) .. start
    .. string.sub(starts, 14 * low + (had > 0 and 15 or 1), -8)
    .. struct.pack('>I7', limit[CAPACITY] - limit[ROOM])
  limit[CHANGED] = limit[CHANGED] or units ~= 0
end

-- The limits as they are now. Units fit if their price is at most the room. A bucket's room and
-- prices are nanoseconds, and its instants are relative to now.
local limits, lasts = {}, 86400000000
for i = 1, lost and 0 or count do
  local kind, capacity, unit = read('>c1I7I7', specs, 15 * i - 14)
  local state, stale = saved[1 + i], false
  if kind == 'w' then
    local used, starts, newest = 0, state or '\0\0\0\0\0\0\0', 0
    if state then
      if math.fmod(#state, 14) ~= 7 then error('unreadable window') end
      used = read('>I7', state, #state - 6)
      local first = 1
      while first < #state - 7 do
        local at, units = read('>I7I7', state, first)
        if at + unit > now then
          newest = read('>I7', state, #state - 20)
          break
        end
        used, first, stale = used - units, first + 14, true
      end
      if used < 0 or (used == 0) ~= (first > #state - 7) then error('unreadable window') end
      if stale then
        starts = sub(state, first, -8) .. write('>I7', used)
      end
    end
    -- Rounded up to a 256th of the period.
    local start, part = now + hold, unit > 256 and math.ceil(unit / 256) or 1
    if newest >= start and newest < start + part then
      start = newest
    elseif part > 1 and math.fmod(start, part) > 0 then
      start = start - math.fmod(start, part) + part
    end
    limits[i] = {
      true, capacity, unit, 1, capacity - used, stale, 0, 0, 0, 0, 0, start, starts, part,
    }
    -- The clock went back: what is later than any hold counts from now.
    if newest > start + grace then
      local last, moved = #starts - 7, 0
      while last > 0 do
        local at, units = read('>I7I7', starts, last - 13)
        if at <= start + grace then break end
        last, moved = last - 14, moved + units
      end
      limits[i][STARTS] = sub(starts, 1, last + 7)
      limits[i][ROOM] = capacity - used + moved
      add(limits[i], start, moved)
    end
    lasts = 2 * unit > lasts and 2 * unit or lasts
  else
    -- A missing bucket has been full for long.
    local debt, given, excess, burst = -LARGEST, 0, 0, capacity * unit
    if state then
      if #state ~= 42 then error('unreadable bucket') end
      local base, old_capacity, old_unit
      base, debt, given, excess, old_capacity, old_unit = read('>I7I7I7I7I7I7', state)
      if old_unit == 0 or old_capacity * old_unit > LARGEST then error('unreadable bucket') end
      debt = (base - second) * 1000000000 + debt - nano
      -- The clock went back.
      if debt > old_capacity * old_unit then
        debt, stale = old_capacity * old_unit, true
      end
      if capacity ~= old_capacity or unit ~= old_unit then
        -- As `Bucket::adopt`.
        local function convert(nanos)
          nanos = math.min(nanos, LARGEST)
          local rest = math.fmod(nanos, old_unit)
          local whole = (nanos - rest) / old_unit * unit
          return math.min(whole + math.ceil(rest / old_unit * unit), LARGEST)
        end
        local left = math.max(excess - math.max(-debt, 0), 0)
        local used = math.max(debt, 0) + left
        local ceiling = left == 0 and used or left + old_capacity * old_unit
        local over = math.max(convert(ceiling) - burst, 0)
        used = convert(used)
        debt = math.max(used - over, 0)
        excess, stale = used - debt, true
      end
    end
    local full = debt > -late and debt or -late
    limits[i] = {
      false, capacity, unit, unit, burst - full, stale, 0, 0, 0, 0, 0, debt, given, excess,
    }
    lasts = burst / 500 > lasts and burst / 500 or lasts
  end
end

