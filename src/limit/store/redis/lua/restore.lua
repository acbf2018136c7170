-- Adds what a process took, up to a burst, or to twice the capacity of a window.
--
-- ARGV[2]  the grace, or 0 if the state was not lost; a number, so that a report that is sent again
--          counts once; for each limit: number of starts; for each
--          start: instant, units

local reply, closed, id = 1
closed, id, position = read('>I7I7', args, position)
local ids = redis.call('HMGET', key, 'r')[1] or ''
for place = 1, #ids - 6, 7 do
  if read('>I7', ids, place) == id then
    count = 0
  end
end
if count > 0 then
  redis.call('HSET', key, 'r', sub(ids .. write('>I7', id), -448))
end
if closed > 0 then
  opens = math.max(opens, math.min(made, now) + closed)
end
for i = 1, count do
  local limit, starts, at, units = limits[i]
  starts, position = read('>I7', args, position)
  local sum = 0
  for _ = 1, starts do
    at, units, position = read('>I7I7', args, position)
    sum = sum + units
    if limit[IS_WINDOW] then
      at = at + limit[PART] - 1
      at = at - math.fmod(at, limit[PART])
      units = math.min(units, limit[CAPACITY] + limit[ROOM])
      if units > 0 and at + limit[UNIT] > now then
        add(limit, at, units)
      end
    end
  end
  if not limit[IS_WINDOW] and sum > 0 then
    local debt = math.max(limit[DEBT], 0) + sum * limit[UNIT]
    limit[DEBT] = math.min(debt, limit[CAPACITY] * limit[UNIT])
    limit[CHANGED] = true
  end
end
