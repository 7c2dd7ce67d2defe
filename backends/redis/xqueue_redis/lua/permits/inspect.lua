-- Keys as operators see them: without those whose time is over. Changes nothing, but that workers
-- may be asked about old permits.
--
-- libs: base gate line permits doubts
-- flags: allow-oom
--
-- KEYS: [1] {namespace}:meta
-- ARGV: [1] the server's run id
--       [2] the keys: an array
-- RETURN: an array: for each key [limit or -1, whether an operator's, version, [id, worker, seconds
--   left] of each holder, the ids of those who wait]

local keys, shown, full, of = unpacked(ARGV[2]), {}, {}, {}
load_gates(keys)
for _, key in ipairs(keys) do
  if not of[key] then
    of[key] = gates[key] or new_gate(key)
    turn(of[key])
    full[#full + 1] = of[key]
  end
end
local mark = read_mark()
local seen = looked(mark or new_mark(0, 0, now, 0, 0, 0))
local judging = mark ~= nil and judges(seen)
local slowest = slowest_of(seen)
local alive = terms_of(full, judging, slowest)
for _, gate in ipairs(full) do
  expire(gate, alive, judging)
end
doubt(full)
save_registrations()
for n, key in ipairs(keys) do
  local gate, holders, waiters = of[key], {}, {}
  local held, waiting = gate.holders.lines, gate.waiters.lines
  for i = 1, #held, LINE do
    if held[i] then
      local worker = gate.people[held[i + WHO]]
      local left = math.max(left_of(living[worker], slowest), seen.till - now)
      holders[#holders + 1] = { held[i], worker, left }
    end
  end
  for i = 1, #waiting, LINE do
    waiters[#waiters + 1] = waiting[i] or nil
  end
  shown[n] = { limit_of(gate), gate.pinned >= 0, version_of(gate), holders, waiters }
end
return pack(shown)
