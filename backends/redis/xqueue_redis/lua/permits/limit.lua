-- Sets the limit of a key, or removes it; a damaged key is rebuilt.
--
-- libs: base gate line
-- flags: allow-oom
--
-- KEYS: [1] {namespace}:meta
-- ARGV: [1] the server's run id
--       [2] the key
--       [3] the limit, or -1 for none
--       [4] 1 for the operator's, 0 for what workers declare
-- RETURN: 1 if the key was damaged, else 0

local key, limit = ARGV[2], tonumber(ARGV[3])
load_gates({ key })
local damaged = not gates[key]
if damaged then
  gates[key] = rebuilt_gate(key)
end
local gate = gates[key]
turn(gate)
local before = limit_of(gate)
if ARGV[4] == '1' then
  gate.pinned = limit
else
  gate.declared, gate.lasting = limit, limit >= 0
  if limit < 0 then
    gate.stamp = 0
  end
end
limit_changed(gate, before)
save_gates({ key })
ring_workers()
return damaged and 1 or 0
