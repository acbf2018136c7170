-- Sets the limits that apply to processes whose code has those of ARGV[1].
--
-- ARGV[2]  the new limits

local reply = 1
quotas = code .. sub(args, position)
