-- Sets the limits that apply to processes whose code has the limits of ARGV[1].
--
-- ARGV[2]  the new limits

local reply = 1
quotas, changed = code .. sub(args, position), true
