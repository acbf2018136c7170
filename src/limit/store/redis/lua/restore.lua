-- Ends a report of what a process took, which `open.lua` adds.
--
-- ARGV[2]  the grace, or 0 if the state was not lost

local reply, closed = 1, read('>I7', args, position)
if closed > 0 and not is_client then
  opens = math.max(opens, math.min(made, now) + closed)
end
