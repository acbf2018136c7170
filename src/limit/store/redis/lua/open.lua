-- Begins each script of a name or client: reads its state. `save.lua` ends it.
--
-- The state is a string. Numbers have 7 bytes if nothing else is said, and instants are
-- microseconds since 1970.
--
--   made, sequence, opens, paused, expires; bytes of quotas, claims, and reports (4 bytes each)
--   quotas   limits in the code of processes, and as many that apply instead, as in ARGV[1]
--   claims   process, asked, expires, number of limits (1 byte), units of each
--   reports  the numbers of the last 64 reports of what processes took
--   limits   number (1 byte, negative if it is a window), bytes that follow (4 bytes); then
--     bucket   a second, and how many nanoseconds after it the bucket is full; nanoseconds given
--              back, excess, capacity, nanoseconds of a unit
--     window   all units; instant and units of each start, the oldest first
--
-- A client's made and sequence are 0. If there is nothing to know but the level of its only
-- limit, a bucket, the state has 12 bytes: second and nanosecond when it is full (4 bytes each),
-- nanoseconds of a unit (a float).
--
-- KEYS[1]  the string
-- ARGV[1]  the limits in the code: 'b' or 'w' (1 byte), capacity, nanoseconds of a unit or
--          microseconds of the period
-- ARGV[2]  1 if it is a client (1 byte), hold, nanoseconds of lateness, made and sequence of the
--          state that was seen (0 if none), grace; the number of a report, which counts once, or 0;
--          up to how many bursts units are added, number of additions; limit, instant, units, and up
--          to how many used units, of each; then what the script describes
--
-- Numbers are exact below 2^53, also `%` of them. Calls, functions, and tables cost most.

local read, write, sub = struct.unpack, struct.pack, string.sub
local LARGEST, GIVEN, LONGEST_PAUSE = 9007199254740991, 4503599627370496, 600000000
-- A second less, so that the sum with `nano` is exact.
local LONGEST_DEBT = 9007198254740991
local key, code, args = KEYS[1], ARGV[1], ARGV[2]

local time = redis.call('TIME')
local second, micro = time[1] + 0, time[2] + 0
local now, nano = second * 1000000 + micro, micro * 1000

local saved = redis.call('GET', key) or ''
local is_client, hold, late, seen_made, seen_sequence, grace, report, bursts, additions, position =
  read('>BI7I7I7I7I7I7I7I7', args)
is_client = is_client == 1

local made, sequence, opens, paused, expires, quotas, claims, reports = 0, 0, 0, 0, 0, '', '', ''
local is_short, place = is_client and #saved == 12, 1
if is_short and sub(code, 1, 1) == 'w' then
  -- The limit was a bucket before.
  local base, rest, unit = read('>I4I4f', saved)
  saved, is_short = write('>I7I7I7I7I7I4I4I4bI4I7I7I7I7I7I7', 0, 0, 0, 0, 0, 0, 0, 0, 1, 42, base,
    rest, 0, 0, math.floor(LARGEST / unit), unit), false
end
if is_short then
  place = 13
elseif saved ~= '' then
  local of_quotas, of_claims, of_reports
  made, sequence, opens, paused, expires, of_quotas, of_claims, of_reports, place =
    read('>I7I7I7I7I7I4I4I4', saved)
  if made > LARGEST or is_client ~= (made == 0) then error('unreadable head') end
  if of_quotas + of_claims + of_reports > 0 then
    quotas, place = sub(saved, place, place + of_quotas - 1), place + of_quotas
    claims, place = sub(saved, place, place + of_claims - 1), place + of_claims
    reports, place = sub(saved, place, place + of_reports - 1), place + of_reports
  end
end

-- Whether more than the head has changed.
local changed = false

-- Is the state that the process has seen gone?
local lost = seen_made > 0 and (made ~= seen_made or sequence < seen_sequence)
if not is_client and (made == 0 or lost and made <= seen_made) then
  -- Missing, or an older copy, and no process knows yet.
  made = lost and (now > seen_made and now or seen_made + 1) or now
  opens = lost and now + grace or 0
  sequence, paused, expires, claims, reports = 0, 0, 0, '', ''
  saved, place, changed = '', 1, true
else
  -- Not later than that: the clock may have gone back.
  if opens > now + grace then opens = now + grace end
  if paused > now + LONGEST_PAUSE then paused, changed = 0, true end
  if lost then
    local latest = (made < now and made or now) + grace
    if opens < latest then opens = latest end
  end
end

if not is_client then sequence = sequence + 1 end

-- Quotas that were set at run time, if the code of the process is as it was then.
local specs, count = code, #code / 15
if #quotas == 2 * #code and sub(quotas, 1, #code) == code then
  specs = sub(quotas, #code + 1)
end

-- Where the limits are, by number.
local places = {}
while place <= #saved do
  local number, length, after = read('>bI4', saved, place)
  places[number], place = place, after + length
end
if place ~= #saved + 1 then error('unreadable limits') end

-- The numbers of a limit.
local IS_WINDOW, CAPACITY, UNIT, PRICE, ROOM, COST, MORE, AHEAD, OTHERS, FREE =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local START, STARTS, NEWEST, NEWEST_UNITS, PART = 11, 12, 13, 14, 15
local DEBT, GIVEN_BACK, EXCESS = 11, 12, 13

-- Adds units to the start at `at` of a window, or takes some of its units away.
local add

-- The limits as they are now. Units fit if their price is at most the room. A bucket's room and
-- prices are nanoseconds, and its instants are relative to now.
local limits, lasts = {}, 86400000000
for i = 1, lost and 0 or count do
  local kind, capacity, unit = read('>c1I7I7', specs, 15 * i - 14)
  if kind == 'w' then
    add = add or function(limit, at, units)
      local starts, newest, had = limit[STARTS], limit[NEWEST], limit[NEWEST_UNITS]
      if at > newest then
        if units <= 0 then return end
        if newest > 0 then limit[STARTS] = starts .. write('>I7I7', newest, had) end
        limit[NEWEST], limit[NEWEST_UNITS] = at, units
      elseif at == newest then
        -- Nearly always.
        if units < -had then units = -had end
        limit[NEWEST_UNITS] = had + units
        if had + units == 0 and starts == '' then
          limit[NEWEST] = 0
        elseif had + units == 0 then
          limit[NEWEST], limit[NEWEST_UNITS] = read('>I7I7', starts, #starts - 13)
          limit[STARTS] = sub(starts, 1, -15)
        end
      else
        local low, high = 0, #starts / 14
        had = 0
        while low < high do
          local middle = math.floor((low + high) / 2)
          local found, found_units = read('>I7I7', starts, 14 * middle + 1)
          if found == at then
            low, had = middle, found_units
            break
          elseif found < at then
            low = middle + 1
          else
            high = middle
          end
        end
        if units < -had then units = -had end
        local start = had + units > 0 and write('>I7I7', at, had + units) or ''
        limit[STARTS] = sub(starts, 1, 14 * low) .. start
          .. sub(starts, 14 * low + (had > 0 and 15 or 1))
      end
      limit[ROOM], changed = limit[ROOM] - units, changed or units ~= 0
    end
    local used, starts, newest, newest_units = 0, '', 0, 0
    if places[-i] then
      local from, length, at, units = places[-i]
      length, used, at, units = read('>I4I7I7I7', saved, from + 1)
      local first, last = from + 12, from + 4 + length
      if length % 14 ~= 7 or length < 21 then error('unreadable window') end
      while at + unit <= now do
        used, first, changed = used - units, first + 14, true
        if first > last then break end
        at, units = read('>I7I7', saved, first)
      end
      if first > last then
        if used ~= 0 then error('unreadable window') end
      else
        if used <= 0 then error('unreadable window') end
        starts = sub(saved, first, last - 14)
        newest, newest_units = read('>I7I7', saved, last - 13)
      end
    end
    -- Rounded up to a 256th of the period.
    local start, part = now + hold, unit > 256 and math.ceil(unit / 256) or 1
    if newest >= start and newest < start + part then
      start = newest
    elseif start % part > 0 then
      start = start - start % part + part
    end
    limits[i] = {
      true, capacity, unit, 1, capacity - used, 0, 0, 0, 0, 0, start, starts, newest, newest_units,
      part,
    }
    -- The clock went back: what is later than any hold counts from now.
    local moved = 0
    while limits[i][NEWEST] > start + grace do
      moved = moved + limits[i][NEWEST_UNITS]
      add(limits[i], limits[i][NEWEST], -LARGEST)
    end
    if moved > 0 then add(limits[i], start, moved) end
    if 2 * unit > lasts then lasts = 2 * unit end
  else
    -- A missing bucket has been full for long.
    local debt, given, excess, burst = -LARGEST, 0, 0, capacity * unit
    local base, old_capacity, old_unit
    if is_short then
      base, debt, old_unit = read('>I4I4f', saved)
      if not (old_unit >= 1 and old_unit <= LARGEST + 1) then error('unreadable bucket') end
      old_capacity = capacity
      if old_unit ~= unit then
        if old_unit == read('>f', write('>f', unit)) then
          old_unit = unit
        else
          old_capacity = math.min(capacity, math.floor(LARGEST / old_unit))
        end
      end
    elseif places[i] then
      local length
      length, base, debt, given, excess, old_capacity, old_unit =
        read('>I4I7I7I7I7I7I7', saved, places[i] + 1)
      if length ~= 42 or old_unit == 0 or old_capacity * old_unit > LARGEST then
        error('unreadable bucket')
      end
    end
    if base then
      debt = (base - second) * 1000000000 + debt - nano
      -- The clock went back.
      local old_burst = old_capacity * old_unit
      if debt > 2 * old_burst or debt > LONGEST_DEBT then
        debt, changed = old_burst, true
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
        local ceiling = left == 0 and used or left + old_burst
        local over = math.max(convert(ceiling) - burst, 0)
        used = convert(used)
        debt = math.max(used - over, 0)
        excess, changed = used - debt, true
      end
    end
    local full = debt > -late and debt or -late
    limits[i] = {
      false, capacity, unit, unit, burst - full, 0, 0, 0, 0, 0, debt, given, excess,
    }
    if burst / 500 > lasts then lasts = burst / 500 end
  end
end

-- Units that were used without having been taken.
local is_known = false
if report > 0 then
  for at = 1, #reports - 6, 7 do
    is_known = is_known or read('>I7', reports, at) == report
  end
  if not is_known then
    reports, changed = sub(reports .. write('>I7', report), -448), true
  end
end
for _ = 1, additions do
  local i, at, units, up_to
  i, at, units, up_to, position = read('>I7I7I7I7', args, position)
  local limit = limits[i]
  if not limit or is_known or units == 0 then
    -- Nothing to add.
  elseif limit[IS_WINDOW] then
    at = at + limit[PART] - 1
    at = at - at % limit[PART]
    units = math.min(units, limit[CAPACITY] + limit[ROOM], up_to - limit[CAPACITY] + limit[ROOM])
    if units > 0 and at + limit[UNIT] > now then
      add(limit, at, units)
    end
  else
    local burst = limit[CAPACITY] * limit[UNIT]
    local debt = math.max(limit[DEBT], 0) + units * limit[UNIT]
    debt = math.min(debt, bursts * burst, up_to * limit[UNIT], LONGEST_DEBT)
    if debt > limit[DEBT] then
      limit[DEBT], limit[ROOM], changed = debt, burst - debt, true
    end
  end
end

