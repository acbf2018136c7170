-- Registers a process, and returns the number of processes.
--
-- KEYS[1]  a string: process and when it expires, of each, in 7 bytes each
-- ARGV[1]  process, microseconds for which it counts; if they are 0, it is removed

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local process, lasting = struct.unpack('>I7I7', ARGV[1])
local saved = redis.call('GET', KEYS[1]) or ''
if math.fmod(#saved, 14) ~= 0 then error('unreadable processes') end
local processes = {}
if lasting > 0 then processes[1] = struct.pack('>I7I7', process, now + lasting) end
local longest = lasting
for place = 1, #saved, 14 do
  local other, expires = struct.unpack('>I7I7', saved, place)
  -- Not later than that: the clock may have gone back.
  if lasting > 0 then expires = math.min(expires, now + lasting) end
  if other ~= process and expires > now then
    processes[#processes + 1] = struct.pack('>I7I7', other, expires)
    longest = math.max(longest, expires - now)
  end
end
if longest > 0 then
  redis.call('SET', KEYS[1], table.concat(processes), 'PX', math.ceil(longest / 1000) + 1)
else
  redis.call('DEL', KEYS[1])
end
return #processes
