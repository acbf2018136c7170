-- Takes units from all limits, or from none.
--
-- ARGV[2]  process, patience, claim, not after, number of units that are returned;
--          for each limit: cost, more;
--          for each that is returned: limit, cost, place, at (seconds, nanoseconds), given
-- Returns  outcome (1 byte), time (seconds, microseconds), made, sequence, microseconds; for each
--          limit, if granted: cost, place, at, given; the limits that apply if they are not those
--          of the code. Instants of a bucket are nanoseconds from the second before.

local GRANTED, WAIT, NEVER, TOO_LATE, LOST = 0, 1, 2, 3, 4
local outcome, micros, marks = GRANTED, 0, ''

-- Returns the microseconds until `units` can all have been taken, if they do not fit now.
local function wait_for(limit, units)
  if not limit[IS_WINDOW] then
    local over = math.min(units * limit[UNIT], LARGEST) - limit[ROOM]
    local rest = math.fmod(over, 1000)
    return (over - rest) / 1000 + (rest > 0 and 1 or 0)
  elseif limit[CAPACITY] == 0 then
    return LARGEST
  end
  local rest = math.fmod(units - 1, limit[CAPACITY])
  local wait = (units - 1 - rest) / limit[CAPACITY] * limit[UNIT]
  local missing, starts, place = rest + 1 - limit[ROOM], limit[STARTS], 1
  while missing > 0 and place < #starts - 7 do
    local at, had = struct.unpack('>I7I7', starts, place)
    missing, place = missing - had, place + 14
    if missing <= 0 then
      wait = wait + at + limit[UNIT] - now
    end
  end
  -- More units than all starts have.
  if missing > 0 then error('unreadable window') end
  return math.min(wait, LARGEST)
end

local process, patience, lasting, not_after, returned
process, patience, lasting, not_after, returned, position = read('>I7I7I7I7I7', args, position)
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
      limit[DEBT], limit[CHANGED] = limit[DEBT] - back, true
      limit[ROOM] = limit[CAPACITY] * limit[UNIT] - math.max(limit[DEBT], -late)
    end
  end
end

if lost then
  outcome, micros = LOST, math.max(opens - now, 0)
elseif now < opens then
  outcome, micros = WAIT, opens - now
elseif is_check_in then
  marks = string.rep('\0', 28 * count)
elseif not_after < now then
  outcome = TOO_LATE
else
  -- The claims that still count, and which is this process's.
  local counting, own, rewrite = {}, nil, false
  if claims ~= '' then
    local place = 1
    while place <= #claims do
      local from, who, asked, expiry, fields = place
      who, asked, expiry, fields, place = read('>I7I7I7B', claims, place)
      if asked > now or expiry <= now then
        rewrite, place = true, place + 7 * fields
      else
        if who == process then
          own = #counting + 1
        end
        for i = 1, fields do
          local units
          units, place = read('>I7', claims, place)
          if i <= count and who ~= process then
            limits[i][OTHERS] = limits[i][OTHERS] + units
            limits[i][AHEAD] = limits[i][AHEAD] + (own and 0 or units)
          end
        end
        counting[#counting + 1] = sub(claims, from, place - 1)
      end
    end
  end

  for i = 1, count do
    local limit = limits[i]
    local units = limit[AHEAD] + limit[COST]
    if limit[COST] > limit[CAPACITY] then
      outcome = NEVER
    elseif limit[COST] > 0 and units * limit[PRICE] > limit[ROOM] then
      micros = math.max(micros, wait_for(limit, units))
    end
  end
  if outcome ~= NEVER and micros > 0 then
    outcome = WAIT
  end

  if outcome == WAIT and micros <= patience then
    local claim = write('>I7I7I7B', process, now, now + lasting, count)
    for i = 1, count do
      claim = claim .. write('>I7', limits[i][COST])
    end
    counting[own or #counting + 1] = claim
    rewrite = true
  elseif own then
    table.remove(counting, own)
    rewrite = true
  end
  if rewrite then
    claims = table.concat(counting)
  end

  if outcome == NEVER then
    micros = 0
  elseif outcome == GRANTED then
    -- More units in proportion, as many as fit and leave the others theirs.
    local part, whole = 1, 1
    for i = 1, count do
      local limit = limits[i]
      if limit[MORE] > 0 then
        local left = limit[ROOM] - limit[COST] * limit[PRICE]
        left = (left - math.fmod(left, limit[PRICE])) / limit[PRICE] - limit[OTHERS]
        limit[FREE] = math.max(left, 0)
        if limit[FREE] / limit[MORE] < part / whole then
          part, whole = limit[FREE], limit[MORE]
        end
      end
    end
    for i = 1, count do
      local limit = limits[i]
      local units, place, at, given = limit[COST], 0, 0, 0
      if limit[MORE] > 0 then
        units = units + math.min(math.floor(limit[MORE] * part / whole), limit[FREE])
      end
      if units > 0 and limit[IS_WINDOW] then
        place, at = limit[START], limit[START]
        add(limit, at, units)
      elseif units > 0 then
        limit[ROOM] = limit[ROOM] - units * limit[UNIT]
        limit[DEBT], limit[CHANGED] = limit[CAPACITY] * limit[UNIT] - limit[ROOM], true
        place, given = nano + limit[DEBT] + 1000000000, limit[GIVEN_BACK]
        at = nano - late + units * limit[UNIT] + 1000000000
      end
      marks = marks .. write('>I7I7I7I7', units, place, at, given)
      local next = limit[OTHERS] + 1
      if limit[COST] + limit[MORE] > 0 and next * limit[PRICE] > limit[ROOM] then
        micros = math.max(micros, wait_for(limit, next))
      end
    end
  end
end

local reply = write('>BI7I7I7I7I7', outcome, second, micro, made, sequence + 1, micros) .. marks
if specs ~= code then
  reply = reply .. specs
end
