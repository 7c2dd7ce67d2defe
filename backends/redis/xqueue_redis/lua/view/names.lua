-- Names of the places in which tasks lie.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: lanes or workers; or lines  2, 3: the first and the last (as ZRANGEBYLEX takes them)
--         4: at most so many
-- RETURN: the names; of lanes and workers in no order, of lines <lane>\0<key> in order
-- libs: base looking
-- flags: no-writes

local function lanes()
  local seen, found = {}, {}
  local function add(lane)
    if not seen[lane] then
      seen[lane] = true
      found[#found + 1] = lane
    end
  end
  for _, lane in ipairs(peek('HKEYS', P .. 'lanes') or {}) do
    add(lane)
  end
  for _, lane in pairs(named(peek('HGETALL', P .. 'types') or {})) do
    add(lane)
  end
  for _, name in ipairs(peek('HKEYS', P .. 'counts') or {}) do
    add(string.match(name, '^[^/]*'))
  end
  return found
end

if ARGV[1] == 'lanes' then
  return lanes()
elseif ARGV[1] == 'workers' then
  return peek('HKEYS', P .. 'workers') or {}
end
return peek('ZRANGEBYLEX', P .. 'lines', ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4]) or {}
