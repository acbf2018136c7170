-- Sets one of the limits that apply to processes whose code has the limits of ARGV[1].
--
-- ARGV[2]  the number of the limit; what applies instead, as in ARGV[1]

local reply, number = 1
number, position = read('>I7', args, position)
quotas = code .. sub(specs, 1, 15 * number - 15) .. sub(args, position)
  .. sub(specs, 15 * number + 1)
changed = true
