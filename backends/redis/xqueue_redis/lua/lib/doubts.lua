-- Permits that their living worker may know nothing of, and how such a one expires (P3).
--
-- A call of acquire that is carried out late, after its worker gave the permit back, is granted one
-- more. So whoever finds a key full leaves a doubt about each old permit in its worker's
-- registration. A renewal that names the permit answers. If none does for a whole lease, the
-- permit is over, and the renewal that finds so takes it back. Only renewals that follow each
-- other without a break count, so that neither an outage nor a pause ends a permit (P1.4).

-- What a doubt holds: the request's id, the permit's key and token; since when renewals did
-- not name it, or one did (-1: none yet); whether one named it; whether it is over.
local D_ID, D_KEY, D_TOKEN, D_SINCE, D_NAMED, D_OVER = 1, 2, 3, 4, 5, 6
-- Doubts about one worker's permits at a time.
local DOUBTS = 100
-- A permit that no renewal names is left alone for so many seconds at least: the answer that tells
-- of it may be under way, longer than a short lease.
local UNDER_WAY = 10
-- Permits granted together have tokens ahead of the clock by a microsecond each: up to so many
-- seconds a token of the future is that of a young permit.
local AHEAD = 1

-- The old permits of a gate's living holders of which nobody has been asked: worker -> doubts.
local function doubtful(gate, found)
  local held = gate.holders.lines
  for i = 1, #held, LINE do
    local id, worker = held[i], gate.people[held[i + WHO]]
    local own = living[worker]
    -- Tokens are microseconds of the clock: enough to spare the young ones. One of the far future
    -- was given before that was set back.
    local age = now - held[i + TOKEN] / 1e6
    local old = own and (age < -AHEAD or age > own.lease) and held[i + OFFERED] < 0
    if id and old and not own.doubts[id] then
      found[worker] = found[worker] or {}
      table.insert(found[worker], { id, gate.key, held[i + TOKEN], -1, false, false })
    end
  end
end

-- Leave doubts about the old permits of those of these keys that are full. The dead hold none.
local function doubt(full)
  local found = {}
  for _, gate in ipairs(full) do
    if is_tight(gate, 1) then
      doubtful(gate, found)
    end
  end
  for worker, list in pairs(found) do
    local own, room = living[worker], DOUBTS
    for _ in pairs(own.doubts) do
      room = room - 1
    end
    -- By chance, so that among very many each has its turn.
    math.randomseed(micros(now))
    for n = 1, math.min(room, #list) do
      local i = #list > room and math.random(n, #list) or n
      list[n], list[i] = list[i], list[n]
      own.doubts[list[n][D_ID]] = list[n]
      register(worker, own)
    end
  end
end

-- What a renewal that names a permit, or does not, leaves of a doubt about it; nil if nothing.
-- `broken` if it came long after the last one.
local function doubt_after(one, named, lease, broken)
  if one[D_OVER] then
    return one
  end
  if one[D_NAMED] then
    return not broken and apart(one[D_SINCE]) <= lease and one or nil
  end
  if named or broken or one[D_SINCE] < 0 then
    one[D_SINCE], one[D_NAMED] = now, named
  elseif apart(one[D_SINCE]) > math.max(lease, UNDER_WAY) then
    one[D_OVER] = true
  end
  return one
end

-- Take these permits, of doubts that are over, back; answers [id, key] of each that was still there.
local function take_back_over(over)
  local keys, told = {}, {}
  for i, one in ipairs(over) do
    keys[i] = one[D_KEY]
  end
  load_gates(keys)
  for _, one in ipairs(over) do
    local gate = gates[one[D_KEY]]
    if gate then
      turn(gate)
      if take_back(gate, one[D_ID], one[D_TOKEN]) then
        told[#told + 1] = { one[D_ID], one[D_KEY] }
      end
      hand_out(gate, {})
    end
  end
  save_gates(keys)
  return told
end

-- Forget the doubts about these requests (a set of ids); those of them that were over.
local function undoubted(worker, ids)
  local own, over = living[worker], {}
  for id, one in pairs(own.doubts) do
    if ids[id] then
      own.doubts[id] = nil
      register(worker, own)
      if one[D_OVER] then
        over[#over + 1] = one
      end
    end
  end
  return over
end
