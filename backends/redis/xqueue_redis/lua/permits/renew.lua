-- Renews a worker's registration, and with it its permits; now and then removes the dead.
--
-- libs: base gate line permits doubts
-- flags: allow-oom
--
-- KEYS: [1] {namespace}:meta
-- ARGV: [1] the server's run id
--       [2] the worker
--       [3] its lease (seconds)
--       [4] its heartbeat (seconds), 0 if it has not told
--       [5] the permits it knows of: an array of [id, key, token, seconds without use]
--       [6] the keys whose version it watches: an array
-- RETURN: an array: [a verdict for each permit, the version of each watched key's limit (-1 if the
--   key is damaged), [id, key] of each permit that its worker did not know of]

local worker, lease, every = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local permits, watched = unpacked(ARGV[5]), unpacked(ARGV[6])

-- -- the registration -----------------------------------------------------------------------------

local found = read_mark()
local mark = beaten(found or new_mark(lease, 0, now, 0, 0, 0), lease, every)
meet({ worker })
local before = living[worker]
local own = {
  term = term_of(before, mark), lease = lease, steady = now, epoch = epoch, every = every,
  doubts = {},
}
local over = {}
if before and before.term == own.term and next(before.doubts) then
  local broken = before.epoch ~= epoch or apart(before.steady) > 2 * beats_of(before)
  local named = {}
  for _, permit in ipairs(permits) do
    named[whole(permit[3]) .. permit[1]] = true
  end
  for id, one in pairs(before.doubts) do
    local known = named[whole(one[D_TOKEN]) .. id] or false
    local left = doubt_after(one, known, lease, broken)
    if left and left[D_OVER] then
      over[#over + 1] = left
    elseif left then
      own.doubts[id] = left
    end
  end
end
register(worker, own)
local unknown = take_back_over(over)

-- -- the verdicts ---------------------------------------------------------------------------------

-- Seconds in line after which a waiter makes another worker's holder yield; a permit under which
-- nothing has run for so long is the first to go.
local PATIENCE = 1

-- The workers of those who have stood in line for long, in order.
local function patient(gate)
  local waiting, found = gate.waiters.lines, {}
  for i = 1, gate.epoch == epoch and #waiting or 0, LINE do
    if waiting[i] and apart(waiting[i + SINCE]) > PATIENCE then
      found[#found + 1] = gate.people[waiting[i + WHO]]
    end
  end
  return found
end

-- Lines of the holders within the limit in the order in which they give way: first those that are
-- unused, as far as this worker can tell, then the oldest.
local function by_use(gate, key, within)
  local unused, order, used = {}, {}, {}
  for _, permit in ipairs(permits) do
    unused[permit[1]] = permit[2] == key and permit[4] > PATIENCE or unused[permit[1]]
  end
  for i = 1, within, LINE do
    local list = unused[gate.holders.lines[i]] and order or used
    list[#list + 1] = i
  end
  for _, i in ipairs(used) do
    order[#order + 1] = i
  end
  return order
end

-- Lines of the holders that are to give way, as a set: those above the limit, and one for each
-- waiter of another worker that has stood in line for long.
local function yielding(gate, key)
  local limit, out = limit_of(gate), {}
  if limit < 0 then
    return out
  end
  tidy(gate.holders)
  local held = gate.holders.lines
  local within = math.min(#held, limit * LINE)
  for i = within + 1, #held, LINE do
    out[i] = true
  end
  local waiters = patient(gate)
  local order = #waiters > 0 and by_use(gate, key, within) or {}
  local from = {} -- waiting worker -> the first place that has not been looked at for it
  for _, waiting in ipairs(waiters) do
    local place, found = from[waiting] or 1, false
    while not found and place <= #order do
      local i = order[place]
      found = not out[i] and held[i + OFFERED] < 0 and gate.people[held[i + WHO]] ~= waiting
      out[i] = out[i] or found
      place = place + 1
    end
    from[waiting] = place
  end
  return out
end

-- True if this line is of a permit with this token that counts for the worker.
local function is_ours(gate, line, token)
  local held = gate.holders.lines
  local who = held[line + WHO]
  local counts = gate.people[who] == worker and gate.people[who + TERM] == own.term
  return counts and held[line + TOKEN] == token
end

local keys = {}
for _, permit in ipairs(permits) do
  keys[#keys + 1] = permit[2]
end
for _, key in ipairs(watched) do
  keys[#keys + 1] = key
end
load_gates(keys)
local verdicts, versions, yields = {}, {}, {}
for i, permit in ipairs(permits) do
  local gate, verdict = gates[permit[2]], 'lost'
  yields[permit[2]] = yields[permit[2]] or (gate and yielding(gate, permit[2]))
  local line = gate and line_of(gate.holders, permit[1])
  if line and is_ours(gate, line, permit[3]) then
    verdict = yields[permit[2]][line] and 'yield' or 'kept'
  end
  verdicts[i] = verdict
end
for i, key in ipairs(watched) do
  versions[i] = gates[key] and version_of(gates[key]) or -1
end

save_registrations()
mark = sweep(mark)
if mark ~= found then
  save_mark(mark)
end
ring_workers()
return pack({ verdicts, versions, unknown })
