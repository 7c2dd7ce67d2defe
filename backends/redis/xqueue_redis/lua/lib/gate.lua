-- One key of the semaphore as it lies in Redis: its limit, who holds permits of it, who waits.
--
-- `s:<key>` is a string, which is read and written once for all that a call does with the key:
-- values packed one behind the other. Few and flat arrays make it cheap, with one holder as with
-- 1,000. A key of no use has a time to live. Times are seconds; those of another run of the server
-- (`epoch`), or far in the future, are of a clock that counts no more.

-- The server's run id.
local epoch = ARGV[1] --@call

-- Seconds for which a key of no use is kept.
local LINGER = 30

-- A roll is either the holders, in the order of their tokens, or the waiters, in the order of
-- arrival: a flat array of `lines`, with 4 values for each. A line begins with the request's id, or
-- false once it is dropped; these are the places of the other values behind that. WHO says where
-- the worker stands in the gate's people. OFFERED is when a permit was granted to a waiter that
-- has not asked since, else -1.
local LINE = 4
local WHO, TOKEN, OFFERED = 1, 2, 3 -- of a holder
local SINCE, ASKED = 2, 3 -- of a waiter
-- People are a flat array, too: 3 values each. A person begins with the worker's id; behind it are
-- the term of its registration, and in how many lines it stands: at 0 the place is free.
local PERSON = 3
local TERM, LINES = 1, 2

local GATE_KINDS = {
  'number', 'boolean', 'number', 'number', 'number', 'number', 'string', 'number',
  'table', 'table', 'table',
}
local PERSON_KINDS = { 'string', 'number', 'number' }
local LINE_KINDS = { 'string', 'number', 'number', 'number' }

-- How many seconds lie between a time and now, whichever is the later.
local function apart(at)
  return math.abs(now - at)
end

-- True if a list is made of values of these types, again and again, as far as its beginning tells.
local function begins_with(list, kinds)
  for i = 1, #list > 0 and #kinds or 0 do
    if type(list[i]) ~= kinds[i] then
      return false
    end
  end
  return #list % #kinds == 0
end

local function listed(ok, ...)
  return ok and { ... } or {}
end

-- A list of the values that were packed one behind the other, or nil if it is not made of these.
local function values_in(bytes, kinds)
  local values = listed(pcall(unpack_, bytes))
  return #values == #kinds and begins_with(values, kinds) and values or nil
end

-- The values of many string keys, in their order; false where there is none.
local function values_of(names)
  local found = {}
  for first = 1, #names, MOST do
    local part = call('MGET', unpack(names, first, math.min(first + MOST - 1, #names)))
    for i = 1, #part do
      found[first + i - 1] = part[i]
    end
  end
  return found
end

-- -- gates ----------------------------------------------------------------------------------------

-- By key, as this call has read and changed them; a damaged one is false.
local gates = {} --@call

-- A gate from its values: no limit and no time are -1; `lasting` is a declared limit that outlives
-- its use, `stamp` is of the request that declared it, `mending` since when nothing is granted.
local function gate_of(key, row, bytes)
  return {
    key = key, bytes = bytes, declared = row[1], lasting = row[2], stamp = row[3], pinned = row[4],
    version = row[5], token = row[6], epoch = row[7], mending = row[8], people = row[9],
    holders = { lines = row[10], n = #row[10] / LINE },
    waiters = { lines = row[11], n = #row[11] / LINE },
  }
end

local function new_gate(key)
  return gate_of(key, { -1, false, 0, -1, 0, 0, '', -1, {}, {}, {} })
end

-- In place of a state that cannot be read, with the least limit that it can have had.
local function rebuilt_gate(key)
  local gate = new_gate(key)
  gate.declared, gate.lasting, gate.pinned = 1, true, 1
  gate.version, gate.epoch, gate.mending, gate.changed = micros(now), epoch, now, true
  return gate
end

-- The gate in these bytes, or false.
local function read_gate(key, bytes)
  local row = values_in(bytes, GATE_KINDS)
  local good = row
    and begins_with(row[9], PERSON_KINDS)
    and begins_with(row[10], LINE_KINDS)
    and begins_with(row[11], LINE_KINDS)
  return good and gate_of(key, row, bytes) or false
end

-- MGET says of another type that there is nothing: those of the absent keys that are there after
-- all are damaged.
local function look_for_others(keys, names, absent)
  for first = 1, #absent, MOST do
    local part = {}
    for i = first, math.min(first + MOST - 1, #absent) do
      part[#part + 1] = names[absent[i]]
    end
    if call('EXISTS', unpack(part)) > 0 then
      for i = first, first + #part - 1 do
        gates[keys[absent[i]]] = call('EXISTS', names[absent[i]]) == 0 and gates[keys[absent[i]]]
      end
    end
  end
end

-- Read those of these keys that have not been.
local function load_gates(keys)
  local missing, names, absent = {}, {}, {}
  for _, key in ipairs(keys) do
    if gates[key] == nil then
      gates[key] = false
      missing[#missing + 1] = key
      names[#names + 1] = P .. 's:' .. key
    end
  end
  for i, bytes in ipairs(values_of(names)) do
    if bytes then
      gates[missing[i]] = read_gate(missing[i], bytes)
    else
      gates[missing[i]] = new_gate(missing[i])
      absent[#absent + 1] = i
    end
  end
  look_for_others(missing, names, absent)
end

-- The limit that counts; -1 if there is none.
local function limit_of(gate)
  return gate.pinned >= 0 and gate.pinned or gate.declared
end

-- The limit's version as others see it.
local function version_of(gate)
  return limit_of(gate) >= 0 and gate.version or 0
end

-- True if nothing is lost when the key goes.
local function is_idle(gate)
  local lasting = gate.pinned >= 0 or (gate.lasting and gate.declared >= 0)
  return not lasting and gate.holders.n == 0 and gate.waiters.n == 0
end

-- -- rolls ----------------------------------------------------------------------------------------

-- Close up the lines that were dropped.
local function tidy(roll)
  if not roll.holes then
    return
  end
  local lines, to = roll.lines, 0
  for i = 1, #lines, LINE do
    if lines[i] then
      for place = 0, LINE - 1 do
        lines[to + 1 + place] = lines[i + place]
      end
      to = to + LINE
    end
  end
  for i = #lines, to + 1, -1 do
    lines[i] = nil
  end
  roll.holes, roll.at = false, nil
end

-- Where the line of a request begins, or nil.
local function line_of(roll, id)
  if not roll.at then
    local at, lines = {}, roll.lines
    for i = 1, #lines, LINE do
      at[lines[i]] = i
    end
    roll.at = at
  end
  return roll.at[id]
end

-- Find people by their names, of several of one name the last; and which places are free.
local function index_people(gate)
  local people = gate.people
  gate.named, gate.free = {}, {}
  for who = 1, #people, PERSON do
    if people[who + LINES] > 0 then
      gate.named[people[who]] = who
    else
      gate.free[#gate.free + 1] = who
    end
  end
end

-- Where a worker with this term stands among the people; it may stand there twice.
local function person(gate, worker, term)
  if not gate.named then
    index_people(gate)
  end
  local people, who = gate.people, gate.named[worker]
  if not who or people[who + TERM] ~= term then
    who = table.remove(gate.free) or #people + 1
    people[who], people[who + TERM], people[who + LINES] = worker, term, 0
  end
  gate.named[worker] = who
  return who
end

-- Note that a person stands in one line more, or less.
local function stands(gate, who, n)
  gate.people[who + LINES] = gate.people[who + LINES] + n
  gate.changed = true
end

local function add(gate, roll, id, who, third, fourth)
  local lines = roll.lines
  local i = #lines + 1
  lines[i], lines[i + 1], lines[i + 2], lines[i + 3] = id, who, third, fourth
  roll.n = roll.n + 1
  if roll.at then
    roll.at[id] = i
  end
  stands(gate, who, 1)
end

-- Drop a line; those behind it stay where they are until the roll is tidied.
local function drop(gate, roll, i)
  if roll.at then
    roll.at[roll.lines[i]] = nil
  end
  roll.lines[i] = false
  roll.n, roll.holes = roll.n - 1, true
  stands(gate, roll.lines[i + WHO], -1)
end

-- Write those of these keys that have changed.
local function save_gates(keys)
  local kept = {}
  for _, key in ipairs(keys) do
    local gate = gates[key]
    local idle = gate and is_idle(gate)
    if gate and gate.changed and (gate.bytes or not idle) then
      tidy(gate.holders)
      tidy(gate.waiters)
      local bytes = pack(
        gate.declared, gate.lasting, gate.stamp, gate.pinned, gate.version, gate.token, gate.epoch,
        gate.mending, gate.people, gate.holders.lines, gate.waiters.lines
      )
      if bytes ~= gate.bytes and idle then
        call('SET', P .. 's:' .. key, bytes, 'EX', LINGER)
      elseif bytes ~= gate.bytes then
        kept[#kept + 1] = P .. 's:' .. key
        kept[#kept + 1] = bytes
      end
      gate.bytes, gate.changed = bytes, false
    end
  end
  many(kept, 2, 'MSET')
end
