-- Who lives: workers' registrations, the mark that judges them, and doubts about old permits.
--
-- A worker's permits live and die with its registration, which is over when it has not renewed for
-- its lease, but never for time in which nobody could (P1.4): the mark notices such time, and
-- grants one whole lease from first contact.
--
-- `permits` is a hash: worker -> term, lease, steady, epoch, every, doubts (packed values). A permit names the
-- term of its worker's registration; one that is over is removed, and the next has another term.
-- `permits-mark` is a string, with the largest lease and the longest time between
-- heartbeats of those who live.

local LIVING, MARK = P .. 'permits', P .. 'permits-mark' --@call

-- Seconds between the heartbeats of a worker with this lease that has not told them.
local function heartbeat(lease)
  return math.min(1, lease / 5)
end

-- -- the mark -------------------------------------------------------------------------------------

local MARK_KINDS = { 'number', 'string', 'number', 'number', 'number', 'number', 'number' }

-- `renewed` is when any worker last did, `contact` when somebody looked since it lies too far back,
-- `till` when the grace ends; 0 if there is none. `swept` is when the dead were last removed.
local function new_mark(lease, every, renewed, contact, till, swept)
  return {
    lease = lease, every = every, epoch = epoch, renewed = renewed, contact = contact, till = till,
    swept = swept,
  }
end

-- The mark, or nil; what is no mark counts as none, and is replaced.
local function read_mark()
  local bytes = call('GET', MARK)
  local row = bytes and values_in(bytes, MARK_KINDS)
  if not row then
    return nil
  end
  local mark = new_mark(row[1], row[3], row[4], row[5], row[6], row[7])
  mark.epoch = row[2]
  return mark
end

local function save_mark(mark)
  call('SET', MARK, pack(
    mark.lease, mark.epoch, mark.every, mark.renewed, mark.contact, mark.till, mark.swept
  ))
end

-- The longest time between two heartbeats of a living worker.
local function slowest_of(mark)
  return mark.every > 0 and mark.every or heartbeat(mark.lease)
end

-- True if no worker has renewed for two heartbeats.
local function is_stale(mark)
  return mark.epoch ~= epoch or apart(mark.renewed) > 2 * slowest_of(mark)
end

-- The mark after somebody reached the server without renewing; itself if unchanged.
local function looked(mark)
  if not is_stale(mark) then
    return mark
  end
  if mark.epoch ~= epoch or apart(mark.contact) > mark.lease / 2 then
    return new_mark(mark.lease, mark.every, 0, now, now + mark.lease, mark.swept)
  end
  if apart(mark.contact) > slowest_of(mark) / 2 then
    return new_mark(mark.lease, mark.every, mark.renewed, now, mark.till, mark.swept)
  end
  return mark
end

-- The mark after a worker with this lease renewed; itself if unchanged.
local function beaten(mark, lease, every)
  every = every > 0 and every or heartbeat(lease)
  local fresh = mark.epoch == epoch and apart(mark.renewed) < every / 4
  if fresh and lease <= mark.lease and every <= slowest_of(mark) then
    return mark
  end
  local widest, slowest = math.max(lease, mark.lease), math.max(every, slowest_of(mark))
  local wide = new_mark(widest, slowest, mark.renewed, mark.contact, mark.till, mark.swept)
  wide.epoch = mark.epoch
  return new_mark(widest, slowest, now, 0, looked(wide).till, mark.swept)
end

-- True if a registration that is overdue is over. Ask after looked().
local function judges(mark)
  return mark.epoch == epoch and now >= mark.till
end

-- -- registrations --------------------------------------------------------------------------------

local REGISTERED_KINDS = { 'number', 'number', 'number', 'string', 'number', 'table' }
local DOUBT_KINDS = { 'string', 'string', 'number', 'number', 'boolean', 'boolean' }

-- Worker -> its registration, whose doubts are found by the request's id, or false; those changed.
local living, registered = {}, {} --@call

local function read_registration(bytes)
  local row = values_in(bytes, REGISTERED_KINDS)
  if not row then
    return false
  end
  local doubts = {}
  for _, one in ipairs(row[6]) do
    if type(one) ~= 'table' or #one == 0 or not begins_with(one, DOUBT_KINDS) then
      return false
    end
    doubts[one[1]] = one
  end
  return {
    term = row[1], lease = row[2], steady = row[3], epoch = row[4], every = row[5],
    doubts = doubts,
  }
end

-- Read those of these workers that have not been.
local function meet(workers)
  local missing = {}
  for _, worker in ipairs(workers) do
    if living[worker] == nil then
      living[worker] = false
      missing[#missing + 1] = worker
    end
  end
  for first = 1, #missing, MOST do
    local last = math.min(first + MOST - 1, #missing)
    for i, bytes in ipairs(call('HMGET', LIVING, unpack(missing, first, last))) do
      living[missing[first + i - 1]] = bytes and read_registration(bytes)
    end
  end
end

-- Register a worker, or with false end its registration.
local function register(worker, own)
  living[worker] = own
  registered[worker] = true
end

local function save_registrations()
  local set, gone = {}, {}
  for worker in pairs(registered) do
    local own = living[worker]
    if own then
      local doubts = {}
      for _, one in pairs(own.doubts) do
        doubts[#doubts + 1] = one
      end
      set[#set + 1] = worker
      set[#set + 1] = pack(own.term, own.lease, own.steady, own.epoch, own.every, doubts)
    else
      gone[#gone + 1] = worker
    end
  end
  many(set, 2, 'HSET', LIVING)
  many(gone, 1, 'HDEL', LIVING)
end

-- Seconds between a worker's heartbeats.
local function beats_of(own)
  return own.every > 0 and own.every or heartbeat(own.lease)
end

-- Seconds that a registration lasts. An outage of less than two of the slowest heartbeats leaves
-- no trace in the mark, so a lease lasts at least through one and the beats before and after it.
local function lasts(own, slowest)
  return math.max(own.lease, 2 * slowest + 2 * beats_of(own))
end

-- True if the worker has not renewed for its lease.
local function is_overdue(own, slowest)
  return own.epoch ~= epoch or apart(own.steady) > lasts(own, slowest)
end

-- Seconds until it is overdue if its worker renews no more.
local function left_of(own, slowest)
  return is_overdue(own, slowest) and 0 or own.steady + lasts(own, slowest) - now
end

-- The term in which a worker that is seen now is registered: a new one if it was over.
local function term_of(own, mark)
  if not own then
    return micros(now)
  end
  if is_overdue(own, slowest_of(mark)) and judges(mark) then
    return math.max(own.term + 1, micros(now))
  end
  return own.term
end

-- End what is overdue among all, now and then (bounded), and let the mark follow the largest lease
-- and heartbeat left. To be called after save_registrations(); answers the mark after that.
local SWEEP_EVERY, SWEPT = 5, 1000
local function sweep(mark)
  if apart(mark.swept) < SWEEP_EVERY then
    return mark
  end
  local lease, every, over = 0, 0, {}
  if judges(mark) then
    local all = call('HLEN', LIVING) <= SWEPT
    local found = all and call('HGETALL', LIVING)
      or call('HRANDFIELD', LIVING, SWEPT, 'WITHVALUES')
    for i = 1, #found, 2 do
      local own = read_registration(found[i + 1])
      if not own or is_overdue(own, slowest_of(mark)) then
        over[#over + 1] = found[i]
      elseif all then
        lease, every = math.max(lease, own.lease), math.max(every, beats_of(own))
      end
    end
    many(over, 1, 'HDEL', LIVING)
  end
  if lease > 0 and (lease < mark.lease or every < slowest_of(mark)) then
    return new_mark(lease, every, mark.renewed, mark.contact, mark.till, now)
  end
  return new_mark(mark.lease, mark.every, mark.renewed, mark.contact, mark.till, now)
end

-- -- who may be dropped from a key ----------------------------------------------------------------

-- The terms of all who hold or await one of these keys and live, and with `judging` those who do
-- not: they are overdue.
local function terms_of(some, judging, slowest)
  local met, workers, terms, dead = {}, {}, {}, {}
  for _, gate in ipairs(some) do
    local people = gate.people
    for who = 1, #people, PERSON do
      if people[who + LINES] > 0 and not met[people[who]] then
        met[people[who]] = true
        workers[#workers + 1] = people[who]
      end
    end
  end
  meet(workers)
  for _, worker in ipairs(workers) do
    local own = living[worker]
    if own and judging and is_overdue(own, slowest) then
      dead[#dead + 1] = worker
    elseif own then
      terms[worker] = own.term
    end
  end
  return terms, dead
end
