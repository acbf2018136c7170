
-- Writes the head, and the limits that have changed.
local changes, changed = {'', '', '', '', '', ''}, 0
for i = 1, #limits do
  local limit = limits[i]
  if limit[CHANGED] then
    local state
    if limit[IS_WINDOW] then
      state = limit[STARTS]
    else
      -- A second earlier, since it may be late.
      state = write('>I7I7I7I7I7I7', second - 1, nano + limit[DEBT] + 1000000000, limit[GIVEN_BACK],
        limit[EXCESS], limit[CAPACITY], limit[UNIT])
    end
    changes[changed + 1], changes[changed + 2] = ARGV[2 + i], state
    changed = changed + 2
  end
end
local renew = expires - now < lasts * 0.75
if renew then
  expires = now + math.ceil(lasts)
end
head = write('>I7I7I7I7I7', made, sequence + 1, opens, expires, #quotas) .. quotas .. claims
redis.call('HSET', key, 'h', head, unpack(changes, 1, changed))
if renew then
  redis.call('PEXPIRE', key, math.ceil(lasts / 1000))
end
return reply
