-- Takes units from all limits, or from none.
--
-- ARGV[2]  process, patience, claim, not after, pause, number of units that are returned;
--          for each limit: cost, more;
--          for each that is returned: limit, cost, place, at (seconds, nanoseconds), given
-- Returns  outcome and slowest limit (1 byte each), time (seconds, microseconds), made, sequence,
--          microseconds until it may be taken or there is more, microseconds of the pause;
--          for each limit, if the state was not lost: used units, microseconds until none is used;
--          and if granted: cost, place, at, given; the limits that apply if they are not those of
--          the code. Instants of a bucket are nanoseconds from the second before.

local GRANTED, WAIT, NEVER, TOO_LATE, LOST = 0, 1, 2, 3, 4
local outcome, micros, slowest, takes = GRANTED, 0, 1, false

local process, patience, lasting, not_after, pause, returned
process, patience, lasting, not_after, pause, returned, position =
  read('>I7I7I7I7I7I7', args, position)
local is_check_in = true
for i = 1, #limits do
  local limit = limits[i]
  limit[COST], limit[MORE], position = read('>I7I7', args, position)
  is_check_in = is_check_in and limit[COST] == 0
end

for _ = 1, lost and 0 or returned do
  local i, cost, place, place_rest, at, at_rest, given
  i, cost, place, place_rest, at, at_rest, given, position =
    read('>I7I7I7I7I7I7I7', args, position)
  local limit = limits[i]
  if limit[IS_WINDOW] then
    add(limit, at * 1000000 + at_rest / 1000, -cost)
  else
    place = (place - second) * 1000000000 + place_rest - nano
    at = (at - second) * 1000000000 + at_rest - nano
    -- What was taken first refills first, and earlier by all that was given back since.
    local earlier = limit[GIVEN_BACK] - given
    earlier = earlier < 0 and earlier + GIVEN or earlier
    local missing = math.min(math.max(place - earlier, at), limit[DEBT])
    if missing > 0 then
      local back = math.min(cost * limit[UNIT], missing)
      given = math.fmod(limit[GIVEN_BACK] - GIVEN + back, GIVEN)
      limit[GIVEN_BACK] = given < 0 and given + GIVEN or given
      limit[DEBT], changed = limit[DEBT] - back, true
      limit[ROOM] = limit[CAPACITY] * limit[UNIT] - math.max(limit[DEBT], -late)
    end
  end
end

if pause > 0 then
  pause = now + math.min(pause, LONGEST_PAUSE)
  if pause > paused then paused, changed = pause, true end
end
local closed_until = opens > paused and opens or paused
if lost then
  outcome, micros = LOST, math.max(opens - now, 0)
elseif now < closed_until then
  outcome, micros = WAIT, closed_until - now
elseif is_check_in then
  -- Nothing to take.
elseif not_after < now then
  outcome = TOO_LATE
else
  takes = true
end

-- The claims that still count, before and behind that of this process.
local own, before, behind = false, '', ''
if takes and claims ~= '' then
  local place = 1
  while place <= #claims do
    local from, who, asked, expiry, fields = place
    who, asked, expiry, fields, place = read('>I7I7I7B', claims, place)
    local counts = asked <= now and now < expiry
    own = own or counts and who == process
    if not counts or who == process then
      place = place + 7 * fields
    else
      for i = 1, fields do
        local units
        units, place = read('>I7', claims, place)
        if i <= count then
          local limit = limits[i]
          limit[OTHERS] = limit[OTHERS] + units
          limit[AHEAD] = limit[AHEAD] + (own and 0 or units)
        end
      end
      if own then
        behind = behind .. sub(claims, from, place - 1)
      else
        before = before .. sub(claims, from, place - 1)
      end
    end
  end
end

-- More units in proportion, as many as fit and leave the others theirs.
local part, whole = 1, 1
for i = 1, takes and count or 0 do
  local limit = limits[i]
  if limit[COST] > limit[CAPACITY] then
    if outcome ~= NEVER then outcome, slowest = NEVER, i end
  elseif outcome == GRANTED then
    if limit[COST] > 0 and (limit[AHEAD] + limit[COST]) * limit[PRICE] > limit[ROOM] then
      outcome = WAIT
    elseif limit[MORE] > 0 then
      local left = limit[ROOM] - limit[COST] * limit[PRICE]
      left = (left - left % limit[PRICE]) / limit[PRICE] - limit[OTHERS]
      limit[FREE] = left > 0 and left or 0
      if limit[FREE] / limit[MORE] < part / whole then
        part, whole = limit[FREE], limit[MORE]
      end
    end
  end
end

local of_limits = ''
for i = 1, #limits do
  local limit = limits[i]
  local cost, more, unit, need = limit[COST], limit[MORE], limit[UNIT], 0
  local units, place, at, given = 0, 0, 0, 0
  if takes and outcome == GRANTED then
    units = cost
    if more > 0 then
      units = units + math.min(math.floor(more * part / whole), limit[FREE])
    end
    if units == 0 then
      -- Nothing to take of it.
    elseif limit[IS_WINDOW] then
      place, at = limit[START], limit[START]
      add(limit, at, units)
    else
      limit[ROOM] = limit[ROOM] - units * unit
      limit[DEBT], changed = limit[CAPACITY] * unit - limit[ROOM], true
      place, given = nano + limit[DEBT] + 1000000000, limit[GIVEN_BACK]
      at = nano - late + units * unit + 1000000000
    end
    need = cost + more > 0 and limit[OTHERS] + 1 or 0
  elseif takes and outcome == WAIT then
    need = cost > 0 and limit[AHEAD] + cost or 0
  end

  -- The microseconds until what it needs can all have been taken.
  if need > 0 and need * limit[PRICE] > limit[ROOM] then
    local wait = LARGEST
    if not limit[IS_WINDOW] then
      local over = math.min(math.min(need * unit, LARGEST) - limit[ROOM], LARGEST)
      local rest = over % 1000
      wait = (over - rest) / 1000 + (rest > 0 and 1 or 0)
    elseif limit[CAPACITY] > 0 then
      local rest = math.fmod(need - 1, limit[CAPACITY])
      wait = (need - 1 - rest) / limit[CAPACITY] * unit
      local missing, place = rest + 1 - limit[ROOM], 1
      local starts = limit[STARTS] .. write('>I7I7', limit[NEWEST], limit[NEWEST_UNITS])
      while missing > 0 do
        -- An error if it is more than all starts have.
        local at, had = read('>I7I7', starts, place)
        missing, place = missing - had, place + 14
        if missing <= 0 then
          wait = wait + at + unit - now
        end
      end
      wait = math.min(wait, LARGEST)
    end
    if wait > micros then micros, slowest = wait, i end
  end

  local used, resets_in = 0, 0
  if limit[IS_WINDOW] then
    used = limit[CAPACITY] - limit[ROOM]
    resets_in = used > 0 and limit[NEWEST] + unit - now or 0
  elseif limit[DEBT] > 0 then
    local debt = limit[DEBT]
    used, resets_in = math.ceil(debt / unit), (debt + -debt % 1000) / 1000
  end
  if outcome == GRANTED then
    of_limits = of_limits .. write('>I7I7I7I7I7I7', used, resets_in, units, place, at, given)
  else
    of_limits = of_limits .. write('>I7I7', used, resets_in)
  end
end

if takes then
  if outcome == WAIT and micros <= patience then
    before = before .. write('>I7I7I7B', process, now, now + lasting, count)
    for i = 1, count do
      before = before .. write('>I7', limits[i][COST])
    end
    expires = is_client and math.max(expires, now + lasting) or expires
  end
  before = before .. behind
  if before ~= claims then
    claims, changed = before, true
  end
end

local reply = write('>BBI7I7I7I7I7I7', outcome, slowest - 1, second, micro, made, sequence, micros,
  paused > now and paused - now or 0) .. of_limits
if specs ~= code then
  reply = reply .. specs
end
