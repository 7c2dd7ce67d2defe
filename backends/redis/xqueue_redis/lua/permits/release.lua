-- Gives permits back, or leaves the line.
--
-- libs: base gate line
-- flags: allow-oom
--
-- KEYS: [1] {namespace}:meta
-- ARGV: [1] the server's run id
--       [2] the permits: an array of [id, key, token]; token 0 stands for whatever the request has
-- RETURN: nothing

local keys, by_key = {}, {}
for _, permit in ipairs(unpacked(ARGV[2])) do
  local key = permit[2]
  if not by_key[key] then
    by_key[key] = {}
    keys[#keys + 1] = key
  end
  table.insert(by_key[key], permit)
end
load_gates(keys)
for _, key in ipairs(keys) do
  local gate = gates[key]
  if gate then -- one that is damaged is rebuilt by who asks
    turn(gate)
    for _, permit in ipairs(by_key[key]) do
      take_back(gate, permit[1], permit[3])
    end
    hand_out(gate, {})
  end
end
save_gates(keys)
ring_workers()
