
-- Writes what has changed. The state of a name is kept, and that of a client until it is idle.

local renew = not is_client and expires - now < lasts * 0.75
if is_short and not changed then return reply end
local sections, idle_at = '', expires < now + lasts and expires or now + lasts
if idle_at < paused then idle_at = paused end
local base, rest
if changed or renew or is_client then
  for i = 1, #limits do
    local limit = limits[i]
    if limit[IS_WINDOW] then
      places[-i] = nil
      if limit[NEWEST] > 0 then
        local used = limit[CAPACITY] - limit[ROOM]
        sections = sections .. write('>bI4I7', -i, 21 + #limit[STARTS], used) .. limit[STARTS]
          .. write('>I7I7', limit[NEWEST], limit[NEWEST_UNITS])
        local leaves = limit[NEWEST] + limit[UNIT]
        if idle_at < leaves then idle_at = leaves end
      end
    else
      places[i] = nil
      if limit[DEBT] > -LARGEST then
        rest = (nano + limit[DEBT]) % 1000000000
        base = second + (nano + limit[DEBT] - rest) / 1000000000
        sections = sections .. write('>bI4I7I7I7I7I7I7', i, 42, base, rest, limit[GIVEN_BACK],
          limit[EXCESS], limit[CAPACITY], limit[UNIT])
        -- Its queue may be late.
        local debt = limit[DEBT] + limit[EXCESS]
        local full_at = now + (debt + -debt % 1000) / 1000 + 10000
        if idle_at < full_at then idle_at = full_at end
      end
    end
  end
  -- The limits of processes with other kinds.
  for _, from in pairs(places) do
    sections = sections .. sub(saved, from, from + 4 + read('>I4', saved, from + 1))
  end
end

local length, state = 47 + #quotas + #claims + #reports + #sections
if is_client and base and #limits == 1 and length == 94 and paused <= now
  and limits[1][GIVEN_BACK] == 0 and limits[1][EXCESS] == 0 then
  state = write('>I4I4f', base, rest, limits[1][UNIT])
else
  renew = renew or not is_client and changed and length < #saved
  expires = renew and now + math.ceil(lasts) or is_client and idle_at or expires
  state = write('>I7I7I7I7I7I4I4I4', made, sequence, opens, paused, expires, #quotas, #claims,
    #reports) .. quotas .. claims .. reports .. sections
end
if renew or is_client and state ~= saved and idle_at > now then
  local lasting = is_client and idle_at - now or lasts
  redis.call('SET', key, state, 'PX', math.ceil(lasting / 1000))
elseif not is_client then
  -- Sets no time to live, which costs as much as all else.
  redis.call('SETRANGE', key, 0, state)
elseif state ~= saved and saved ~= '' then
  redis.call('DEL', key)
end
return reply
