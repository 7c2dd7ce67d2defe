-- Answers requests for permits, without blocking.
--
-- libs: base gate line permits doubts
-- flags: allow-oom
--
-- KEYS: [1] {namespace}:meta
-- ARGV: [1] the server's run id
--       [2] the time (seconds) after which this call comes too late, and must do nothing; 0: none
--       [3] the requests: an array of [id, key, worker, lease, queue, running, limit or -1, stamp]
-- RETURN: an array: [the time, whether it came too late, [grant, token, place, version of the
--   limit, 'kept' or 'yield'] of each request, the damaged keys that were rebuilt, [id, key] of each
--   permit that its worker did not know of]

local latest = tonumber(ARGV[2])
if latest > 0 and now > latest then
  return pack({ now, true, {}, {}, {} })
end
local requests = unpacked(ARGV[3])
-- What a request consists of.
local ID, KEY, WORKER, LEASE, QUEUE, RUNNING, LIMIT, STAMP = 1, 2, 3, 4, 5, 6, 7, 8

-- -- what was asked -------------------------------------------------------------------------------

local keys, by_key, workers, leases, ids, widest = {}, {}, {}, {}, {}, 0
for i, one in ipairs(requests) do
  local key, worker = one[KEY], one[WORKER]
  if not by_key[key] then
    by_key[key] = {}
    keys[#keys + 1] = key
  end
  table.insert(by_key[key], i)
  if not leases[worker] then
    workers[#workers + 1] = worker
  end
  leases[worker] = one[LEASE]
  ids[one[ID]] = true
end
for _, lease in pairs(leases) do
  widest = math.max(widest, lease)
end

-- -- who asks -------------------------------------------------------------------------------------

local mark = read_mark()
if not mark then
  mark = new_mark(widest, 0, now, 0, 0, 0)
  save_mark(mark)
end
meet(workers)
load_gates(keys)
local terms, unknown = {}, {} -- the latter: [id, key] of what their workers did not know of
for _, worker in ipairs(workers) do
  local own = living[worker]
  terms[worker] = term_of(own, looked(mark))
  if not own or is_overdue(own, slowest_of(mark)) then
    -- A new permit must live until its worker's first renewal.
    register(worker, {
      term = terms[worker], lease = leases[worker], steady = now, epoch = epoch, every = 0,
      doubts = {},
    })
  elseif next(own.doubts) then
    -- Who asks for it will know of it; what is over must not be granted by that.
    for _, told in ipairs(take_back_over(undoubted(worker, ids))) do
      unknown[#unknown + 1] = told
    end
  end
end

local mended, tight = {}, {}
for _, key in ipairs(keys) do
  if not gates[key] then
    gates[key] = rebuilt_gate(key)
    mended[#mended + 1] = key
  end
  turn(gates[key])
  if is_tight(gates[key], #by_key[key]) then
    tight[#tight + 1] = gates[key]
  end
end

-- -- what expired of keys that are full -----------------------------------------------------------

if #tight > 0 then
  local seen = looked(mark)
  if seen ~= mark then
    save_mark(seen)
  end
  local judging = judges(seen)
  local alive, dead = terms_of(tight, judging, slowest_of(seen))
  for _, worker in ipairs(dead) do
    register(worker, false)
  end
  for _, gate in ipairs(tight) do
    expire(gate, alive, judging)
    if judging and gate.mending >= 0 and apart(gate.mending) > seen.lease then
      gate.mending, gate.changed = -1, true
    end
  end
  doubt(tight)
end

-- -- asking one key -------------------------------------------------------------------------------

-- Take over the limit a request carries if it is the latest.
local function heed(gate, one)
  if one[LIMIT] >= 0 and (gate.declared < 0 or one[STAMP] > gate.stamp) then
    local before = limit_of(gate)
    gate.declared, gate.stamp = one[LIMIT], one[STAMP]
    limit_changed(gate, before)
  end
end

-- The request's line in a roll, if it has one; and whether it is of the worker that asks.
local function found_in(gate, roll, one)
  local i = line_of(roll, one[ID])
  return i, i ~= nil and gate.people[roll.lines[i + WHO]] == one[WORKER]
end

-- Let what is in this line count for the present registration of its worker.
local function move(gate, lines, i, who)
  stands(gate, lines[i + WHO], -1)
  stands(gate, who, 1)
  lines[i + WHO] = who
end

-- True if the request has a permit or a place already, which it then takes up; `who` asks.
local function is_known(gate, one, who)
  local held, waiting, people = gate.holders.lines, gate.waiters.lines, gate.people
  local function is_of_term(other)
    return people[other + TERM] == people[who + TERM]
  end
  local i, ours = found_in(gate, gate.holders, one)
  if i and not ours then
    return true
  end
  if i then
    if held[i + OFFERED] >= 0 then
      held[i + OFFERED] = -1
      move(gate, held, i, who)
    end
    if is_of_term(held[i + WHO]) then
      return true
    end
    drop(gate, gate.holders, i) -- it expired with an earlier registration: this is a new wish
  end
  i, ours = found_in(gate, gate.waiters, one)
  if ours then
    if not is_of_term(waiting[i + WHO]) then
      move(gate, waiting, i, who)
    end
    -- A row that is not written for every look: a quarter of the time is fresh enough.
    if apart(waiting[i + ASKED]) > SILENT / 4 then
      waiting[i + ASKED], gate.changed = now, true
    end
  end
  return i ~= nil
end

-- The line of the first holder above the limit: those behind it are the latest. nil if none is.
local function first_above(gate)
  local limit = limit_of(gate)
  if limit < 0 or gate.holders.n <= limit then
    return nil
  end
  tidy(gate.holders)
  return limit * LINE + 1
end

-- The answer to a request; one that waits is told where its line is, which is not its place yet.
local function answer_of(gate, one, above)
  local i, ours = found_in(gate, gate.holders, one)
  if ours then
    local keep = above and i >= above and 'yield' or 'kept'
    return { 'granted', gate.holders.lines[i + TOKEN], 0, version_of(gate), keep }
  end
  if limit_of(gate) < 0 then
    return { 'free', 0, 0, 0, 'kept' }
  end
  i, ours = found_in(gate, gate.waiters, one)
  if ours then
    return { 'waiting', 0, i, 0, 'kept' }
  end
  return { 'denied', 0, 0, 0, 'kept' }
end

-- The place, from 1, of each line of those who wait.
local function places_in(waiting)
  local places, n = {}, 0
  for i = 1, #waiting, LINE do
    n = waiting[i] and n + 1 or n
    places[i] = n
  end
  return places
end

-- True if who comes next in line may be granted a permit.
local function has_room(gate)
  return gate.mending < 0 and gate.holders.n + gate.waiters.n < limit_of(gate)
end

local answers = {}
local function ask(gate, chosen)
  local present = {}
  for _, i in ipairs(chosen) do
    heed(gate, requests[i])
  end
  for _, i in ipairs(chosen) do
    local one = requests[i]
    local who = person(gate, one[WORKER], terms[one[WORKER]])
    present[one[ID]] = true
    if not is_known(gate, one, who) and limit_of(gate) >= 0 then
      if one[RUNNING] then
        grant(gate, one[ID], who, -1)
      elseif one[QUEUE] or has_room(gate) then
        add(gate, gate.waiters, one[ID], who, now, now)
      end
    end
  end
  hand_out(gate, present)
  for _, i in ipairs(chosen) do
    local line, ours = found_in(gate, gate.waiters, requests[i])
    if ours and not requests[i][QUEUE] then
      drop(gate, gate.waiters, line)
    end
  end
  local places, above = nil, first_above(gate)
  for _, i in ipairs(chosen) do
    answers[i] = answer_of(gate, requests[i], above)
    if answers[i][1] == 'waiting' then
      places = places or places_in(gate.waiters.lines)
      answers[i][3] = places[answers[i][3]]
    end
  end
end

for _, key in ipairs(keys) do
  ask(gates[key], by_key[key])
end
save_gates(keys)
save_registrations()
ring_workers()
return pack({ now, false, answers, mended, unknown })
