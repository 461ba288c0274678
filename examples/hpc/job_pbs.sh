#!/bin/bash
#PBS -q standard
#PBS -N NAME-OF-THE-JOB
#PBS -A matsci
#PBS -l select=1:ncpus=32:mpiprocs=32
#PBS -l walltime=12:00:00
#PBS -o /scratch/me/mgsurf/FOLDER-OF-THE-JOB/queue.out
#PBS -e /scratch/me/mgsurf/FOLDER-OF-THE-JOB/queue.err

cd /scratch/me/mgsurf/FOLDER-OF-THE-JOB
source ~/mgsurf/.venv/bin/activate
export OMP_NUM_THREADS=1
jf -fe execution run /scratch/me/mgsurf/FOLDER-OF-THE-JOB
