-- Whose turn it is: highest level first, one in sixteen from below, lanes in turn (P2.3); and the
-- entries that this comes to. The rules are those of xqueue_core.stored.fairness.

local TURN_EVERY = 16

-- How many of each level of a lane may be leased, and of all.
local function levels_of(lane)
  local flat = call('HGETALL', P .. 'ready:' .. lane)
  local levels, total = {}, 0
  for i = 1, #flat, 2 do
    local n = tonumber(flat[i + 1])
    if n > 0 then
      levels[tonumber(flat[i])] = n
      total = total + n
    end
  end
  return levels, total
end

local function highest(levels)
  for level = 9, 0, -1 do
    if levels[level] then
      return level
    end
  end
  return nil
end

-- Of the levels below the top the one that has waited longest for a turn.
local function next_below(levels, top, last)
  local found
  for level = 0, top - 1 do
    if levels[level] and (not found or (last[level] or 0) < (last[found] or 0)) then
      found = level
    end
  end
  return found
end

-- The levels from which to take n tasks, in order, and the lane's turns after that.
local function pick(levels, n, turn)
  local left, several = {}, -1
  for level, many_ in pairs(levels) do
    left[level] = many_
    several = several + 1
  end
  local counted_, last = turn.count, {}
  for level, at in pairs(turn.last) do
    last[level] = at
  end
  local order = {}
  while #order < n do
    local level = highest(left)
    if not level then
      break
    end
    if several > 0 then
      counted_ = counted_ + 1
      if counted_ % TURN_EVERY == 0 then
        level = next_below(left, level, last)
        last[level] = counted_
      end
    end
    order[#order + 1] = level
    left[level] = left[level] - 1
    if left[level] == 0 then
      left[level] = nil
      several = several - 1
    end
  end
  return order, { count = counted_, last = last }
end

-- How many each lane gets of `limit`, one in turn, beginning behind the lane served last.
local function shares_of(open, limit, after)
  table.sort(open, function(a, b) return a.lane < b.lane end)
  local first = 1
  for n, one in ipairs(open) do
    if one.lane > after then
      first = n
      break
    end
  end
  local order, left = {}, limit
  for n = 0, #open - 1 do
    local one = open[(first - 1 + n) % #open + 1]
    one.levels, one.total = levels_of(one.lane)
    one.left, one.share = math.min(one.most, one.total), 0
    order[#order + 1] = one
  end
  local given = true
  while left > 0 and given do
    given = false
    for _, one in ipairs(order) do
      if one.left > 0 and left > 0 then
        one.left, one.share, left, given = one.left - 1, one.share + 1, left - 1, true
      end
    end
  end
  return order
end

-- -- entries -------------------------------------------------------------------------------------

-- Entries that nobody has taken yet, up to n: taken by this. They are removed at once, all at the
-- stream's beginning, which costs a fraction of removing each when its delivery ends.
local function read_group(key, n)
  local function unread()
    return try('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', n, 'NOACK', 'STREAMS', key,
      '>')
  end
  local answer = unread()
  if type(answer) == 'table' and answer.err then
    if string.find(answer.err, 'WRONGTYPE', 1, true) then
      call('RENAME', key, P .. 'rubbish:' .. whole(micros(now)) .. ':' .. key)
    end
    -- A new stream has no group yet; one that somebody removed is begun anew: what runs is seen.
    try('XGROUP', 'CREATE', key, GROUP, '0', 'MKSTREAM')
    answer = unread()
  elseif not answer and call('XLEN', key) > 0 then
    -- Somebody else has read them: the stream holds nothing but what waits.
    call('XGROUP', 'SETID', key, GROUP, '0')
    answer = unread()
  end
  if not answer then
    return {}
  elseif answer.err then
    error(answer)
  end
  local entries = answer[1][2]
  local time, nth = string.match(entries[#entries][1], '^(%d+)-(%d+)$')
  call('XTRIM', key, 'MINID', time .. '-' .. whole(tonumber(nth) + 1))
  return entries
end

-- Entries that nobody has taken yet, up to n, left where they are.
local function peek_group(key, n)
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  local after = '-'
  if not groups.err then
    for _, flat in ipairs(groups) do
      local group = {}
      for i = 1, #flat, 2 do
        group[flat[i]] = flat[i + 1]
      end
      if group.name == GROUP and group['last-delivered-id'] ~= '0-0' then -- not one of others
        after = '(' .. group['last-delivered-id']
      end
    end
  end
  local found = redis.pcall('XRANGE', key, after, '+', 'COUNT', n)
  return found.err and {} or found
end

-- Something in a level that is no task that waits there: set it aside if that was not done.
local function stray(lane, level, id, entry)
  if entry == '' then
    score(early_key(lane, level), id, false)
  end
  local _, kind = load_task(id)
  if kind == 'stone' then
    return -- its end has been counted
  end
  ready_by(lane, level, -1)
  if kind == 'damaged' then
    set_aside(id, UNREADABLE, now, lane, 'pending')
  elseif kind == 'none' then
    machine.vanished(lane, id, 'pending')
  else
    call('SADD', P .. 'repair', lane) -- was it counted at all?
  end
end

-- An entry that is not ours: its fields are kept for whoever wonders.
local function rubbish(lane, level, entry)
  call('RPUSH', P .. 'rubbish', pack({ stream_key(lane, level), entry[1], entry[2] }))
  call('LTRIM', P .. 'rubbish', -1000, -1)
end

local function add_entries(found, lane, level, entries)
  for _, entry in ipairs(entries) do
    if entry[2][1] == 'i' and entry[2][2] then
      found[#found + 1] = { lane = lane, level = level, id = entry[2][2], entry = entry[1] }
    else
      rubbish(lane, level, entry)
    end
  end
end

-- The first n of a level, by rank: from `early`, from the stream, or from both.
local function first_of(lane, level, n)
  local found = {}
  local early = call('ZRANGE', early_key(lane, level), 0, n - 1, 'WITHSCORES')
  local key = stream_key(lane, level)
  if #early == 0 then
    add_entries(found, lane, level, read_group(key, n))
    return found
  end
  local later = peek_group(key, n)
  local i, j = 1, 1
  local before = {}
  while #before + j - 1 < n and (early[i] or later[j]) do
    local rank = later[j] and tonumber(string.match(later[j][1], '^%d+'))
    if early[i] and (not rank or tonumber(early[i + 1]) <= rank) then
      before[#before + 1] = { lane = lane, level = level, id = early[i], entry = '', at = j }
      i = i + 2
    else
      j = j + 1
    end
  end
  local entries = j > 1 and read_group(key, j - 1) or {}
  local taken_ = 1
  for _, one in ipairs(before) do
    while taken_ < one.at and entries[taken_] do
      add_entries(found, lane, level, { entries[taken_] })
      taken_ = taken_ + 1
    end
    found[#found + 1] = one
  end
  while entries[taken_] do
    add_entries(found, lane, level, { entries[taken_] })
    taken_ = taken_ + 1
  end
  return found
end

-- -- all of it -----------------------------------------------------------------------------------

local function turn_of(turn, lane)
  for _, one in ipairs(turn[3]) do
    if one[1] == lane then
      local last = {}
      for _, pair in ipairs(one[3]) do
        last[pair[1]] = pair[2]
      end
      return { count = one[2], last = last }
    end
  end
  return { count = 0, last = {} }
end

-- The counter of a level says more than there is: entries or a stream were removed by somebody.
local function amiss(lane, level, missing)
  ready_by(lane, level, -missing)
  call('SADD', P .. 'repair', lane)
end

-- What of one lane comes next, by level in the order of turns.
local function of_lane(one, turn, turns)
  local level = highest(one.levels)
  if one.levels[level] == one.total then -- no other level waits, and no turn is used up
    local found = first_of(one.lane, level, one.share)
    if #found < one.share then
      amiss(one.lane, level, one.share - #found)
    end
    return found
  end
  local order, after = pick(one.levels, one.share, turn_of(turn, one.lane))
  turns[one.lane] = after
  local wanted, found = {}, {}
  for _, level in ipairs(order) do
    wanted[level] = (wanted[level] or 0) + 1
  end
  for level, n in pairs(wanted) do
    found[level] = first_of(one.lane, level, n)
    if #found[level] < n then
      amiss(one.lane, level, n - #found[level])
    end
  end
  local list, nth = {}, {}
  for _, level in ipairs(order) do
    nth[level] = (nth[level] or 0) + 1
    list[#list + 1] = found[level][nth[level]]
  end
  return list
end

-- Up to `limit` waiting tasks of these lanes, in order; the turns that this uses up, and the lane
-- served last.
local function choose(open, limit, turn)
  local turns, lists, chosen, last = {}, {}, {}, turn[2]
  if #open == 0 or limit <= 0 then
    return chosen, turns, last
  end
  for _, one in ipairs(shares_of(open, limit, turn[2])) do
    if one.share > 0 then
      lists[#lists + 1] = of_lane(one, turn, turns)
    end
  end
  local n, more = 1, true
  while more do
    more = false
    for _, list in ipairs(lists) do
      if list[n] then
        chosen[#chosen + 1] = list[n]
        last, more = list[n].lane, true
      end
    end
    n = n + 1
  end
  return chosen, turns, last
end

-- The worker's turn record after a call.
local function advance(turn, number, last, turns)
  local lanes = {}
  for _, one in ipairs(turn[3]) do
    if not turns[one[1]] then
      lanes[#lanes + 1] = one
    end
  end
  for lane, after in pairs(turns) do
    local pairs_ = {}
    for level, at in pairs(after.last) do
      pairs_[#pairs_ + 1] = { level, at }
    end
    lanes[#lanes + 1] = { lane, after.count, pairs_ }
  end
  return { number, last, lanes }
end

-- Wake one more worker where tasks are left behind, take back wakes where none are, and name the
-- lanes asked for that have work.
local function wake_and_tell(open, told, took)
  local ready = {}
  for _, one in ipairs(open) do
    local _, total = levels_of(one.lane)
    local key = P .. 'wake:' .. one.lane
    if total == 0 then
      call('DEL', key)
    elseif took and call('LLEN', key) == 0 then
      call('RPUSH', key, '1')
    end
  end
  for _, lane in ipairs(told) do
    local _, total = levels_of(lane)
    if total > 0 then
      ready[#ready + 1] = lane
    end
  end
  return ready
end
