-- Where recurring schedules stand: xqueue_core.recurring.standing, on arrays.

local S = { VERSION = 1, LAST = 2, RULE = 3, SEEN = 4, FORMER = 5, FIRED = 6 }
-- An announcement that changes nothing is noted if the last one is older (seconds).
local NOTED = 5
-- Earlier rules that a schedule remembers.
local FORMER = 8

local function standing_of(name)
  return unpacked(call('HGET', P .. 'schedules', name))
end

local function save_standing(name, standing)
  call('HSET', P .. 'schedules', name, pack(standing))
end

-- Fire or consume a slot; false if it is at or below the last one, or of an older version.
local function fire(name, version, at)
  local before = standing_of(name)
  if not before then
    save_standing(name, { version, at, '', now, {}, at })
    return true
  end
  if at <= before[S.LAST] or version < before[S.VERSION] then
    return false
  end
  local rule = version == before[S.VERSION] and before[S.RULE] or ''
  save_standing(name, { version, at, rule, now, before[S.FORMER], at })
  return true
end

local function index_of(list, value)
  for n, one in ipairs(list) do
    if one == value then
      return n
    end
  end
  return nil
end

-- Take over a new rule: its version and last slot.
local function take_over(name, before, rule, start, former)
  while #former > FORMER do
    table.remove(former, 1)
  end
  local version, last = before[S.VERSION] + 1, math.max(before[S.LAST], start)
  save_standing(name, { version, last, rule, now, former, before[S.FIRED] })
  return 'applied', '', version, last
end

-- An announcement: what became of it, the rule in force where that is another, its version, and
-- its last slot.
local function announce(name, rule, after, unheard)
  local start = math.min(after ~= 0 and after or now, now)
  local before = standing_of(name)
  if not before then
    save_standing(name, { 1, start, rule, now, {}, 0 })
    return 'applied', '', 1, start
  end
  if before[S.RULE] == rule then
    if math.abs(now - before[S.SEEN]) >= NOTED then
      before[S.SEEN] = now
      save_standing(name, before)
    end
    return 'applied', '', before[S.VERSION], before[S.LAST]
  end
  local former = before[S.FORMER]
  local known = index_of(former, rule)
  if not known then
    if before[S.RULE] ~= '' then
      former[#former + 1] = before[S.RULE]
    end
    return take_over(name, before, rule, start, former)
  end
  if before[S.SEEN] < unheard then
    local earlier = {}
    for n = 1, known - 1 do
      earlier[n] = former[n]
    end
    return take_over(name, before, rule, start, earlier)
  end
  return 'conflict', before[S.RULE], before[S.VERSION], before[S.LAST]
end
