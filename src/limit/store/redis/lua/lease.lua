-- Leases slots of a concurrency limit.
--
-- KEYS[1]  a string: until when no process gets more than it holds, in 7 bytes; for each process: its
--          number, when its slots expire, slots, slots that it could use, and since when it waits
-- ARGV[1]  process, limit, slots that the process may be using, slots that it could use,
--          microseconds for which they are its own, grace, whether the state must be there
-- Returns  how many requests of the process may be in flight, whether others wait

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local process, limit, held, wanted, lasting, grace, seen =
  struct.unpack('>I7I7I7I7I7I7I7', ARGV[1])
local saved = redis.call('GET', KEYS[1])
local opens, before, since = 0, 0, now
if saved then
  if math.fmod(#saved, 35) ~= 7 then error('unreadable slots') end
  opens = math.min(struct.unpack('>I7', saved), now + grace)
end
if (held > 0 or seen == 1) and (not saved or #saved == 7) then
  -- It was lost.
  opens = now + grace
end

local entries, others = {}, {}
local counted, wishes, sharing = 0, 0, wanted > 0 and 1 or 0
for place = 8, saved and #saved or 0, 35 do
  local who, expires, slots, wishes_of, waits = struct.unpack('>I7I7I7I7I7', saved, place)
  -- Not later than that: the clock may have gone back.
  expires, waits = math.min(expires, now + lasting), math.min(waits, now)
  if who == process then
    before, since = slots, waits
  elseif expires > now then
    entries[#entries + 1] = struct.pack('>I7I7I7I7I7', who, expires, slots, wishes_of, waits)
    others[#others + 1] = {slots = slots, waits = wishes_of > slots and waits}
    counted, wishes = counted + slots, wishes + wishes_of
    sharing = sharing + (wishes_of > 0 and 1 or 0)
  end
end

-- Equal shares; the rest goes to the processes with the fewest slots, and the longest wait.
local share = math.floor(limit / math.max(sharing, 1))
local left, others_wait = limit - share * sharing, 0
if before >= wanted then
  since = now
end
for _, other in ipairs(others) do
  left = left - math.max(other.slots - share, 0)
  if other.waits then
    others_wait = 1
    if other.slots < before or other.slots == before and other.waits < since then
      left = left - 1
    end
  end
end
local fair = share + (left > 0 and 1 or 0)
local slots = math.min(wanted, math.max(fair, limit - wishes), math.max(limit - counted, 0))
if now < opens then
  slots = math.min(slots, held)
end
if slots ~= before then
  since = now
end
local mine = math.max(slots, held)
if wanted > 0 or mine > 0 then
  entries[#entries + 1] =
    struct.pack('>I7I7I7I7I7', process, now + lasting, mine, wanted, since)
end
redis.call('SET', KEYS[1], struct.pack('>I7', opens) .. table.concat(entries), 'PX',
  math.ceil(lasting / 1000) + 1)
return {slots, others_wait}
